# Perl: Email::Sender, with Email::MIME
use v5.36;
use utf8;
use Email::MIME;
use Email::Sender::Simple qw(sendmail);
use Email::Sender::Transport::SMTP;
use JSON;
use MIME::Base64;

my $transport;
if ($ENV{PORT} == 25) {
    # <25>
    $transport = Email::Sender::Transport::SMTP->new({ host => 'postroad', port => 25 });
    # </25>
} elsif ($ENV{PORT} == 587) {
    # <587>
    $transport = Email::Sender::Transport::SMTP->new({
        host          => 'mail.example.com',
        port          => 587,
        ssl           => 'starttls',
        sasl_username => 'app',
        sasl_password => $ENV{SMTP_PASSWORD},
    });
    # </587>
} else {
    $transport = Email::Sender::Transport::SMTP->new({
        host          => 'mail.example.com',
        port          => 465,
        ssl           => 'ssl',
        sasl_username => 'app',
        sasl_password => $ENV{SMTP_PASSWORD},
    });
}

open my $file, '<:raw', $ENV{MESSAGE} or die "$ENV{MESSAGE}: $!";
my $given = decode_json(do { local $/; <$file> });

sub text ($type, $text) {
    return Email::MIME->create(
        attributes => { content_type => $type, charset => 'UTF-8', encoding => 'quoted-printable' },
        body_str   => $text,
    );
}

my @ways = (text('text/plain', $given->{text}));
push @ways, text('text/html', $given->{html}) if $given->{html};
push @ways, text('text/calendar', $given->{invite}) if $given->{invite};
my $alternatives = Email::MIME->create(attributes => { content_type => 'multipart/alternative' }, parts => \@ways);
my @files = map {
    Email::MIME->create(
        attributes => {
            content_type => $_->{type}, disposition => 'attachment', encoding => 'base64',
            name => $_->{name}, filename => $_->{name},
        },
        body => decode_base64($_->{content}),
    )
} $given->{attachments}->@*;

sendmail(
    Email::MIME->create(
        attributes => { content_type => 'multipart/mixed' },
        header_str => [
            From    => qq("$given->{from_name}" <$ENV{FROM}>),
            To      => qq("$given->{to_name}" <$ENV{TO}>),
            Subject => $given->{subject},
        ],
        parts => [$alternatives, @files],
    ),
    { transport => $transport },
);
