-- Made by Postroad from its configuration. Do not edit: it is written anew at every start and reload.
-- setup.lua had the one sender signed; the message itself gets it here.
local from = odkim.get_header(ctx, "From", 0)
if from ~= nil then
    odkim.del_header(ctx, "From", 0)
    odkim.add_header(ctx, "From", from)
end
