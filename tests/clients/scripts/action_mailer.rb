# Rails: Action Mailer
require "base64"
require "json"
require "action_mailer"

class Config
  def self.action_mailer = ActionMailer::Base
end
config = Config

case ENV["PORT"]
when "25"
  # <25>
  config.action_mailer.smtp_settings = { address: "postroad", port: 25 }
  # </25>
when "587"
  # <587>
  config.action_mailer.smtp_settings = {
    address: "mail.example.com",
    port: 587,
    user_name: "app",
    password: ENV["SMTP_PASSWORD"]
  }
  # </587>
when "465"
  config.action_mailer.smtp_settings = {
    address: "mail.example.com",
    port: 465,
    tls: true,
    user_name: "app",
    password: ENV["SMTP_PASSWORD"]
  }
end

class Letters < ActionMailer::Base
  def letter(given)
    given["attachments"].each do |file|
      attachments[file["name"]] = { mime_type: file["type"], content: Base64.decode64(file["content"]) }
    end
    attachments["invite.ics"] = { mime_type: "text/calendar; method=REQUEST", content: given["invite"] } unless given["invite"].empty?
    mail(
      from: email_address_with_name(ENV["FROM"], given["from_name"]),
      to: email_address_with_name(ENV["TO"], given["to_name"]),
      subject: given["subject"]
    ) do |format|
      format.text { render plain: given["text"] }
      format.html { render html: given["html"].html_safe } unless given["html"].empty?
    end
  end
end

Letters.letter(JSON.parse(File.read(ENV["MESSAGE"], encoding: "UTF-8"))).deliver_now
