#!/bin/sh -e
# curl: the text comes composed
case $PORT in
25)
    # <25>
    curl smtp://postroad --mail-from "$FROM" --mail-rcpt "$TO" --crlf --upload-file "$EML"
    # </25>
    ;;
587)
    # <587>
    curl smtp://mail.example.com:587 --ssl-reqd --user "app:$SMTP_PASSWORD" \
        --mail-from "$FROM" --mail-rcpt "$TO" --crlf --upload-file "$EML"
    # </587>
    ;;
465)
    curl smtps://mail.example.com --user "app:$SMTP_PASSWORD" \
        --mail-from "$FROM" --mail-rcpt "$TO" --crlf --upload-file "$EML"
    ;;
esac
