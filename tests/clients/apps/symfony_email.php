<?php // The message, for apps that send by Symfony Mailer
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;

function email(): Email
{
    $given = json_decode(file_get_contents(getenv('MESSAGE')), true);
    $email = (new Email())
        ->from(new Address(getenv('FROM'), $given['from_name']))
        ->to(new Address(getenv('TO'), $given['to_name']))
        ->subject($given['subject'])
        ->text($given['text']);
    return $given['html'] !== '' ? $email->html($given['html']) : $email;
}
