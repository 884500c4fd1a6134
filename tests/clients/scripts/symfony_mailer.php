<?php // Symfony Mailer, which is Laravel's as well
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;
use Symfony\Component\Mime\Part\DataPart;

require '/usr/share/php/Symfony/Component/Mailer/autoload.php';

$given = json_decode(file_get_contents(getenv('MESSAGE')), true);
if (getenv('PORT') === '25') {
    // <25>
    $mailer = new Mailer(Transport::fromDsn('smtp://postroad:25'));
    // </25>
} elseif (getenv('PORT') === '587') {
    // <587>
    $password = rawurlencode(getenv('SMTP_PASSWORD'));
    $mailer = new Mailer(Transport::fromDsn("smtp://app:$password@mail.example.com:587"));
    // </587>
} else {
    $password = rawurlencode(getenv('SMTP_PASSWORD'));
    $mailer = new Mailer(Transport::fromDsn("smtps://app:$password@mail.example.com:465"));
}

$email = (new Email())
    ->from(new Address(getenv('FROM'), $given['from_name']))
    ->to(new Address(getenv('TO'), $given['to_name']))
    ->subject($given['subject'])
    ->text($given['text']);
if ($given['html'] !== '') {
    $email->html($given['html']);
}
foreach ($given['attachments'] as $file) {
    $email->attach(base64_decode($file['content']), $file['name'], $file['type']);
}
if ($given['invite'] !== '') {
    $email->addPart(new DataPart($given['invite'], 'invite.ics', 'text/calendar'));
}
$mailer->send($email);
