# Ruby's mail
require "base64"
require "json"
require "mail"

case ENV["PORT"]
when "25"
  # <25>
  Mail.defaults do
    delivery_method :smtp, address: "postroad", port: 25
  end
  # </25>
when "587"
  # <587>
  Mail.defaults do
    delivery_method :smtp, address: "mail.example.com", port: 587,
                           user_name: "app", password: ENV["SMTP_PASSWORD"]
  end
  # </587>
when "465"
  Mail.defaults do
    delivery_method :smtp, address: "mail.example.com", port: 465, tls: true,
                           user_name: "app", password: ENV["SMTP_PASSWORD"]
  end
end

given = JSON.parse(File.read(ENV["MESSAGE"], encoding: "UTF-8"))
message = Mail.new(charset: "UTF-8") do
  subject given["subject"]
  text_part { content_type "text/plain; charset=UTF-8"; body given["text"] }
  html_part { content_type "text/html; charset=UTF-8"; body given["html"] } unless given["html"].empty?
  given["attachments"].each do |file|
    attachments[file["name"]] = { mime_type: file["type"], content: Base64.decode64(file["content"]) }
  end
  attachments["invite.ics"] = { mime_type: "text/calendar; method=REQUEST", content: given["invite"] } unless given["invite"].empty?
end
from = Mail::Address.new(ENV["FROM"])
from.display_name = given["from_name"]
to = Mail::Address.new(ENV["TO"])
to.display_name = given["to_name"]
message.from = from.format
message.to = to.format
message.deliver!
