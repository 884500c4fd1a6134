# GitLab: gitlab.rb, and Action Mailer's settings made of it as its config/initializers/smtp_settings.rb does
require "action_mailer"
require "json"

gitlab_rails = {}
if ENV["PORT"] == "25"
  # <25>
  gitlab_rails['smtp_enable'] = true
  gitlab_rails['smtp_address'] = "postroad"
  gitlab_rails['smtp_port'] = 25
  gitlab_rails['gitlab_email_from'] = "gitlab@example.com"
  # </25>
else
  # <587>
  gitlab_rails['smtp_enable'] = true
  gitlab_rails['smtp_address'] = "mail.example.com"
  gitlab_rails['smtp_port'] = 587
  gitlab_rails['smtp_user_name'] = "app"
  gitlab_rails['smtp_password'] = ENV["SMTP_PASSWORD"]
  gitlab_rails['smtp_authentication'] = "login"
  gitlab_rails['smtp_enable_starttls_auto'] = true
  gitlab_rails['smtp_openssl_verify_mode'] = "peer"
  gitlab_rails['gitlab_email_from'] = "gitlab@example.com"
  # </587>
end

names = %w[address port user_name password authentication enable_starttls_auto openssl_verify_mode]
settings = names.to_h { |name| [name.to_sym, gitlab_rails["smtp_#{name}"]] }.compact
settings[:authentication] = settings[:authentication].to_sym if settings[:authentication]
ActionMailer::Base.smtp_settings = settings
ActionMailer::Base.delivery_method = :smtp

given = JSON.parse(File.read(ENV["MESSAGE"]))
mail = Mail.new(charset: "UTF-8") do
  from Mail::Address.new.tap { |a| a.address = ENV["FROM"]; a.display_name = given["from_name"] }.format
  to Mail::Address.new.tap { |a| a.address = ENV["TO"]; a.display_name = given["to_name"] }.format
  subject given["subject"]
  text_part { content_type "text/plain; charset=UTF-8"; body given["text"] }
  html_part { content_type "text/html; charset=UTF-8"; body given["html"] } unless given["html"].empty?
end
mail.delivery_method :smtp, ActionMailer::Base.smtp_settings
mail.deliver!
