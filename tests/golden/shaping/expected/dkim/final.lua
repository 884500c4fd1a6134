-- Made by Postroad from its configuration. Do not edit: it is written anew at every start and reload.
-- What setup.lua found that would break the signature on its way: the message is not taken. Only here can the reply be told.
if refusal ~= nil then
    odkim.set_reply(ctx, "550", "5.6.0", refusal)
    odkim.set_result(ctx, SMFIS_REJECT)
end
