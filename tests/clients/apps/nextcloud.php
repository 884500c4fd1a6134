<?php // Nextcloud: config.php, and Symfony's transport made of it as lib/private/Mail/Mailer.php does
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport\Smtp\EsmtpTransport;

require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
require __DIR__ . '/symfony_email.php';

if (getenv('PORT') === '25') {
    $CONFIG = [
        // <25>
        'mail_smtpmode' => 'smtp',
        'mail_smtphost' => 'postroad',
        'mail_smtpport' => 25,
        'mail_from_address' => 'cloud',
        'mail_domain' => 'example.com',
        // </25>
    ];
} else {
    $CONFIG = [
        // <587>
        'mail_smtpmode' => 'smtp',
        'mail_smtphost' => 'mail.example.com',
        'mail_smtpport' => 587,
        'mail_smtpauth' => true,
        'mail_smtpname' => 'app',
        'mail_smtppassword' => getenv('SMTP_PASSWORD'),
        'mail_from_address' => 'cloud',
        'mail_domain' => 'example.com',
        // </587>
    ];
}
$transport = new EsmtpTransport($CONFIG['mail_smtphost'], $CONFIG['mail_smtpport'], ($CONFIG['mail_smtpsecure'] ?? '') === 'ssl');
if ($CONFIG['mail_smtpauth'] ?? false) {
    $transport->setUsername($CONFIG['mail_smtpname']);
    $transport->setPassword($CONFIG['mail_smtppassword']);
}
(new Mailer($transport))->send(email());
