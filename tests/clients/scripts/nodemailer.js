// Nodemailer
const fs = require("fs");
const nodemailer = require("nodemailer");

const { PORT, FROM, TO, MESSAGE } = process.env;

function connect() {
  if (PORT === "25") {
    // <25>
    const transport = nodemailer.createTransport({ host: "postroad", port: 25 });
    // </25>
    return transport;
  }
  if (PORT === "587") {
    // <587>
    const transport = nodemailer.createTransport({
      host: "mail.example.com",
      port: 587,
      requireTLS: true,
      auth: { user: "app", pass: process.env.SMTP_PASSWORD },
    });
    // </587>
    return transport;
  }
  return nodemailer.createTransport({
    host: "mail.example.com",
    port: 465,
    secure: true,
    auth: { user: "app", pass: process.env.SMTP_PASSWORD },
  });
}

const given = JSON.parse(fs.readFileSync(MESSAGE));
const message = {
  from: { name: given.from_name, address: FROM },
  to: { name: given.to_name, address: TO },
  subject: given.subject,
  text: given.text,
  html: given.html || undefined,
  attachments: given.attachments.map((file) => ({
    filename: file.name,
    contentType: file.type,
    content: Buffer.from(file.content, "base64"),
  })),
};
if (given.invite) message.icalEvent = { method: "REQUEST", content: given.invite };

connect()
  .sendMail(message)
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
