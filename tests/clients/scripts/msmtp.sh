#!/bin/sh -e
# msmtp: the text comes composed; ~/.msmtprc is what the page shows
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
587)
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
465)
    cat >"$HOME/.msmtprc" <<'END'
account default
host mail.example.com
port 465
tls on
tls_starttls off
auth on
user app
passwordeval printenv SMTP_PASSWORD
END
    ;;
esac
msmtp --from="$FROM" "$TO" <"$EML"
