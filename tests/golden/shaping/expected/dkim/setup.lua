-- Made by Postroad from its configuration. Do not edit: it is written anew at every start and reload.
-- sendmail writes lists of addresses anew when it delivers, after the signature was made: a space after each comma, no
-- empty places, quotes around a name with an @, a bracket, a semicolon or a backslash. The signature is made over what
-- it will write. Folding does not matter (relaxed). What it would write in some other way yet (it cuts an address with
-- its name at 255 bytes, turns a%b into a@b, ends what is left open ...) is refused by final.lua.

-- The end of what starts at a position and may hold commas: a quoted string, a comment, an address in angle brackets.
local function span(text, start)
    local close = ({ ['"'] = '"', ["("] = ")", ["<"] = ">" })[text:sub(start, start)]
    local position = start + 1
    while close and position <= #text do
        local character = text:sub(position, position)
        if character == "\\" then
            position = position + 1
        elseif character == close then
            return position
        elseif close ~= '"' and character == '"' then
            position = span(text, position)
        end
        position = position + 1
    end
    return start
end

local longest = 250 -- bytes of a place

local function refuse_addresses(name)
    odkim.export(ctx, "refusal", name .. ": would not be delivered as it was signed: write each address as NAME <USER@DOMAIN>, with commas between them, in " .. longest .. " bytes at most")
end

-- Whether sendmail leaves an address as it is: a word, or one at a full domain.
local function stays(address)
    local user, domain = address:match("^(.+)@([^@]*)$")
    if not user then
        return not address:find("[^\33-\126]") and not address:find('[@%%<>"\\%[%]:]')
    end
    domain = domain:lower()
    return (domain:find("^[%w._'-]*[%w_'-]$") or domain:find("^%[[%w.:]+%]$")) ~= nil
        and domain ~= "localhost" and not domain:find("%.uucp$")
        and (user:find('^"[^"\\]*"$') or not user:find('[^\33-\126]') and not user:find('["\\:]') and not user:find("^@"))
end

-- An address without the spaces that sendmail takes out: around it, and around @ and dots.
local function tight(address)
    local quoted, rest = address:match('^%s*("[^"\\]*")(.*)$')
    return (quoted or "") .. (rest or address):gsub("%s*([@.])%s*", "%1"):match("^%s*(.-)%s*$")
end

local function swap(text, old, new)
    local first, last = text:find(old, 1, true)
    return text:sub(1, first - 1) .. new .. text:sub(last + 1)
end

-- One place of a list as sendmail will write it; nothing where that can't be foreseen.
local function written(place)
    if #place > longest then
        return nil
    end
    -- a group's name before its first member, the semicolon after its last one
    local member = place:gsub("^[^:;<>()\"@\\%[%]]+:%s*", "", 1):gsub("%s*;$", "", 1)
    -- comments after the address; elsewhere they move
    local comments = 0
    member = member:gsub("%s+%b()$", function() comments = comments + 1 return "" end, 1)
    if member == "" then
        return comments == 0 and place or nil
    end
    local name, address = member:match("^(.-)%s*<([^<>()]*)>$")
    if not name then
        local anew = tight(member)
        local outside = anew:gsub('^"[^"\\]*"', "")
        return not outside:find('[()<>;%s]') and stays(anew) and swap(place, member, anew) or nil
    end
    local anew = tight(address)
    if anew ~= "" and not stays(anew) then
        return nil
    end
    local bare = name:gsub('"[^"\\]*"', ""):gsub("%b()", "")
    if name:find("\\") and name:find('"') then
        -- quoted characters: in one quoted string and nowhere else
        local inner = name:match('^"(.*)"$')
        bare = inner and not inner:gsub("\\.", ""):find('["\\]') and "" or '"'
    end
    if bare:find('["()<>:]') or bare:find("\\$") then
        return nil
    end
    if not bare:find("[@%[%]\\;]") then
        return swap(place, "<" .. address .. ">", "<" .. anew .. ">")
    end
    if bare ~= name or comments > 0 or member ~= place then
        return nil
    end
    return '"' .. name .. '"' .. swap(member:sub(#name + 1), address, anew)
end

-- The value as sendmail will write it, and whether that could be foreseen.
local function rewritten(text)
    local places, place, position, sure = {}, "", 1, true
    while position <= #text do
        if text:sub(position, position) == "," then
            places[#places + 1], place = place, ""
        else
            local last = span(text, position)
            place = place .. text:sub(position, last)
            position = last
        end
        position = position + 1
    end
    places[#places + 1] = place
    local list = {}
    for _, each in ipairs(places) do
        each = each:gsub("%s+", " "):match("^%s*(.-)%s*$")
        if each ~= "" then
            local anew = written(each)
            sure = sure and anew ~= nil and #anew <= longest
            list[#list + 1] = anew or each
        end
    end
    return table.concat(list, ", "), sure
end

local function each_header(name, act)
    local number = 0
    local value = odkim.get_header(ctx, name, number)
    while value ~= nil do
        act(value, number)
        number = number + 1
        value = odkim.get_header(ctx, name, number)
    end
end

for name in ("From,Sender,Reply-To,Subject,Date,Message-ID,To,Cc,In-Reply-To,References,MIME-Version,Content-Type,Content-Transfer-Encoding,List-Id,List-Unsubscribe,List-Unsubscribe-Post"):gmatch("[^,]+") do
    each_header(name, function(value)
        for line in value:gmatch("[^\n]+") do
            if #line > 2000 then
                odkim.export(ctx, "refusal", name .. ": has a line of more than 2000 bytes, which would not be delivered as it was signed: fold it")
            end
        end
    end)
end

for _, name in ipairs({ "To", "Cc", "From", "Reply-To", "Sender" }) do
    each_header(name, function(value, number)
        local anew, sure = rewritten(value)
        if not sure then
            refuse_addresses(name)
        elseif anew ~= value then
            odkim.replace_header(ctx, name, number, anew)
        end
    end)
end
