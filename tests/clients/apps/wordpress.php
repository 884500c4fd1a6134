<?php // WordPress: the hook in which wp_mail() lets PHPMailer be set up
use PHPMailer\PHPMailer\PHPMailer;

require '/usr/share/php/libphp-phpmailer/autoload.php';

function add_action(string $hook, callable $action): void
{
    $GLOBALS['actions'][$hook] = $action;
}

if (getenv('PORT') === '25') {
    // <25>
    add_action('phpmailer_init', function ($mail) {
        $mail->isSMTP();
        $mail->Host = 'postroad';
        $mail->Port = 25;
    });
    // </25>
} else {
    // <587>
    add_action('phpmailer_init', function ($mail) {
        $mail->isSMTP();
        $mail->Host = 'mail.example.com';
        $mail->Port = 587;
        $mail->SMTPSecure = 'tls';
        $mail->SMTPAuth = true;
        $mail->Username = 'app';
        $mail->Password = getenv('SMTP_PASSWORD');
    });
    // </587>
}

$given = json_decode(file_get_contents(getenv('MESSAGE')), true);
// what wp_mail() does around the hook
$mail = new PHPMailer(true);
$mail->setFrom(getenv('FROM'), $given['from_name'], false);
$mail->Subject = $given['subject'];
$mail->Body = $given['html'] !== '' ? $given['html'] : $given['text'];
$mail->addAddress(getenv('TO'), $given['to_name']);
$mail->isMail();
$mail->ContentType = $given['html'] !== '' ? 'text/html' : 'text/plain';
$mail->AltBody = $given['html'] !== '' ? $given['text'] : '';
$mail->CharSet = 'UTF-8';
$actions['phpmailer_init']($mail);
$mail->send();
