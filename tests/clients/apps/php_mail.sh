#!/bin/sh -e
# PHP's mail(): php.ini's sendmail_path, and what it calls
HOME=$(mktemp -d)
export HOME
umask 077
case $PORT in
25)
    cat >"$HOME/.msmtprc" <<'END'
# <25>
account default
host postroad
# </25>
END
    ;;
*)
    cat >"$HOME/.msmtprc" <<'END'
# <587>
account default
host mail.example.com
port 587
tls on
auth on
user app
passwordeval printenv SMTP_PASSWORD
# </587>
END
    ;;
esac
cat >"$HOME/php.ini" <<'END'
# <ini>
sendmail_path = "/usr/bin/msmtp -t -i"
# </ini>
END
sed -i '/^#/d' "$HOME/php.ini"
php -c "$HOME/php.ini" -r '
$given = json_decode(file_get_contents(getenv("MESSAGE")), true);
mb_internal_encoding("UTF-8");
$html = $given["html"] !== "";
$headers = ["From" => mb_encode_mimeheader($given["from_name"]) . " <" . getenv("FROM") . ">", "MIME-Version" => "1.0"];
if ($html) {
    $headers["Content-Type"] = "multipart/alternative; boundary=part";
    $body = "--part\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" . chunk_split(base64_encode($given["text"]))
        . "--part\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" . chunk_split(base64_encode($given["html"])) . "--part--\r\n";
} else {
    $headers += ["Content-Type" => "text/plain; charset=UTF-8", "Content-Transfer-Encoding" => "base64"];
    $body = chunk_split(base64_encode($given["text"]));
}
exit(mail(getenv("TO"), mb_encode_mimeheader($given["subject"]), $body, $headers, "-f" . getenv("FROM")) ? 0 : 1);
'
