#!/bin/sh -e
# swaks: the text comes composed
case $PORT in
25)
    # <25>
    swaks --server postroad --from "$FROM" --to "$TO" --data "@$EML"
    # </25>
    ;;
587)
    # <587>
    swaks --server mail.example.com --port 587 --tls --tls-verify \
        --auth-user app --auth-password "$SMTP_PASSWORD" --from "$FROM" --to "$TO" --data "@$EML"
    # </587>
    ;;
465)
    swaks --server mail.example.com --port 465 --tls-on-connect --tls-verify \
        --auth-user app --auth-password "$SMTP_PASSWORD" --from "$FROM" --to "$TO" --data "@$EML"
    ;;
esac
