<?php // Laravel: .env, and Symfony's transport made of it as Illuminate\Mail\MailManager does
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport\Dsn;
use Symfony\Component\Mailer\Transport\Smtp\EsmtpTransportFactory;

require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
require __DIR__ . '/symfony_email.php';

$beside = <<<'END'
# <25>
MAIL_MAILER=smtp
MAIL_HOST=postroad
MAIL_PORT=25
MAIL_FROM_ADDRESS=shop@example.com
# </25>
END;
$elsewhere = <<<'END'
# <587>
MAIL_MAILER=smtp
MAIL_HOST=mail.example.com
MAIL_PORT=587
MAIL_USERNAME=app
MAIL_PASSWORD="${SMTP_PASSWORD}"
MAIL_FROM_ADDRESS=shop@example.com
# </587>
END;
$env = [];
foreach (explode("\n", getenv('PORT') === '25' ? $beside : $elsewhere) as $line) {
    if (preg_match('/^(\w+)="?(.*?)"?$/', $line, $match)) {
        $env[$match[1]] = str_replace('${SMTP_PASSWORD}', getenv('SMTP_PASSWORD'), $match[2]);
    }
}
$port = (int) $env['MAIL_PORT'];
$scheme = $env['MAIL_SCHEME'] ?? ($port === 465 ? 'smtps' : 'smtp');
$dsn = new Dsn($scheme, $env['MAIL_HOST'], $env['MAIL_USERNAME'] ?? null, $env['MAIL_PASSWORD'] ?? null, $port);
(new Mailer((new EsmtpTransportFactory())->create($dsn)))->send(email());
