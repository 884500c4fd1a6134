// Nodemailer with a pool: twenty messages over connections that are kept open
const nodemailer = require("nodemailer");

const { FROM, TO } = process.env;
const transport = nodemailer.createTransport({ host: "postroad", port: 25, pool: true });

Promise.all(
  Array.from({ length: 20 }, (_, n) =>
    transport.sendMail({ from: FROM, to: TO, subject: `pool ${n}`, text: `Message ${n}.\n` }),
  ),
)
  .then(() => transport.close())
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
