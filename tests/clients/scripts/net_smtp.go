// Go's net/smtp: the text comes composed.
package main

import (
	"crypto/tls"
	"log"
	"net/smtp"
	"os"
)

func main() {
	from, to := os.Getenv("FROM"), []string{os.Getenv("TO")}
	message, err := os.ReadFile(os.Getenv("EML"))
	if err != nil {
		log.Fatal(err)
	}
	switch os.Getenv("PORT") {
	case "25":
		// <25>
		err = smtp.SendMail("postroad:25", nil, from, to, message)
		// </25>
	case "587":
		// <587>
		auth := smtp.PlainAuth("", "app", os.Getenv("SMTP_PASSWORD"), "mail.example.com")
		err = smtp.SendMail("mail.example.com:587", auth, from, to, message)
		// </587>
	case "465":
		err = encrypted(from, to[0], message)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// net/smtp has no call of its own for port 465
func encrypted(from, to string, message []byte) error {
	conn, err := tls.Dial("tcp", "mail.example.com:465", nil)
	if err != nil {
		return err
	}
	client, err := smtp.NewClient(conn, "mail.example.com")
	if err != nil {
		return err
	}
	if err := client.Auth(smtp.PlainAuth("", "app", os.Getenv("SMTP_PASSWORD"), "mail.example.com")); err != nil {
		return err
	}
	if err := client.Mail(from); err != nil {
		return err
	}
	if err := client.Rcpt(to); err != nil {
		return err
	}
	writer, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := writer.Write(message); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return client.Quit()
}
