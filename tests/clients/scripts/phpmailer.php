<?php // PHPMailer
use PHPMailer\PHPMailer\PHPMailer;

require '/usr/share/php/libphp-phpmailer/autoload.php';

$given = json_decode(file_get_contents(getenv('MESSAGE')), true);
if (getenv('PORT') === '25') {
    // <25>
    $mail = new PHPMailer(true);
    $mail->isSMTP();
    $mail->Host = 'postroad';
    // </25>
} elseif (getenv('PORT') === '587') {
    // <587>
    $mail = new PHPMailer(true);
    $mail->isSMTP();
    $mail->Host = 'mail.example.com';
    $mail->Port = 587;
    $mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;
    $mail->SMTPAuth = true;
    $mail->Username = 'app';
    $mail->Password = getenv('SMTP_PASSWORD');
    // </587>
} else {
    $mail = new PHPMailer(true);
    $mail->isSMTP();
    $mail->Host = 'mail.example.com';
    $mail->Port = 465;
    $mail->SMTPSecure = PHPMailer::ENCRYPTION_SMTPS;
    $mail->SMTPAuth = true;
    $mail->Username = 'app';
    $mail->Password = getenv('SMTP_PASSWORD');
}

$mail->CharSet = PHPMailer::CHARSET_UTF8;
$mail->setFrom(getenv('FROM'), $given['from_name']);
$mail->addAddress(getenv('TO'), $given['to_name']);
$mail->Subject = $given['subject'];
$mail->Body = $given['text'];
if ($given['html'] !== '') {
    $mail->isHTML();
    $mail->Body = $given['html'];
    $mail->AltBody = $given['text'];
}
foreach ($given['attachments'] as $file) {
    $mail->addStringAttachment(base64_decode($file['content']), $file['name'], PHPMailer::ENCODING_BASE64, $file['type']);
}
if ($given['invite'] !== '') {
    $mail->isHTML();
    $mail->Body = '<p>' . htmlspecialchars($given['text']) . '</p>';
    $mail->AltBody = $given['text'];
    $mail->Ical = $given['invite'];
}
$mail->send();
