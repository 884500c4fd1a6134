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
php -c "$HOME/php.ini" apps/php_mail.php
