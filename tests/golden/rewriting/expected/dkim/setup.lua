-- Made by Postroad from its configuration. Do not edit: it is written anew at every start and reload.
-- sendmail writes lists of addresses anew when it delivers, after the signature was made: a space after each comma, no
-- empty places, quotes around a name with an @ or brackets. The signature is made over what it will
-- write. Folding does not matter (relaxed).

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

-- As the rules of sendmail.mc change an address (Rewrite)
local masqueraded = { "web1", "internal.example.com",  }
local addresses = {
    ["root@example.com"] = "ops@example.com",
    ["app@web2"] = "App+web2@example.com",
}

local function address_as_it_leaves(address)
    local mailbox, host = address:match("^(.+)@([^@]*)$")
    local found = address
    if not mailbox then
        mailbox, host = address, "example.com"
        found = host ~= "" and mailbox .. "@" .. host or address
    end
    if host == "" or host:find("^%[") then
        return found
    end
    for _, name in ipairs(masqueraded) do
        if host:lower() == name or host:lower():sub(-#name - 1) == "." .. name then
            found = mailbox .. "@" .. "example.com"
        end
    end
    return addresses[found:lower()] or found
end

-- One entry of a list: "name <address> (comment)" or "address (comment)"; in a group, after "name:" or before ";".
local function entry_as_it_leaves(entry)
    local group, inner, ends = entry:match('^([^"<>()@:]*:%s*)(.-)(%s*;?)$')
    if not group then
        group = ""
        inner, ends = entry:match("^(.-)(%s*;?)$")
    end
    local bare, comments, position = "", "", 1
    while position <= #inner do
        local last = span(inner, position)
        local first, part = inner:sub(position, position), inner:sub(position, last)
        if first == "<" and last > position then
            local address = part:sub(2, -2):match("^%s*(.-)%s*$")
            if address ~= "" then
                inner = inner:sub(1, position) .. address_as_it_leaves(address) .. inner:sub(last)
            end
            return group .. inner .. ends
        elseif comments ~= "" or (first == "(" and last > position) then
            comments = comments .. part
        else
            bare = bare .. part
        end
        position = last + 1
    end
    local address, space = bare:match("^(.-)(%s*)$")
    if address == "" then
        return entry
    end
    return group .. address_as_it_leaves((address:gsub("%s*([@.])%s*", "%1"))) .. space .. comments .. ends
end

local function rewritten(text)
    local addresses, address, position = {}, "", 1
    while position <= #text do
        if text:sub(position, position) == "," then
            addresses[#addresses + 1], address = address, ""
        else
            local last = span(text, position)
            address = address .. text:sub(position, last)
            position = last
        end
        position = position + 1
    end
    addresses[#addresses + 1] = address
    local list = {}
    for _, each in ipairs(addresses) do
        each = each:match("^%s*(.-)%s*$")
        local name, rest = each:match('^([^"<>()]-)(%s*<[^<>]*>)$')
        if name and name:find("[@%[%]]") then
            each = '"' .. name .. '"' .. rest
        end
        each = entry_as_it_leaves(each)
        if each ~= "" then
            list[#list + 1] = each
        end
    end
    return table.concat(list, ", ")
end

for _, name in ipairs({ "To", "Cc", "From", "Reply-To", "Sender" }) do
    local number = 0
    local value = odkim.get_header(ctx, name, number)
    while value ~= nil do
        local anew = rewritten(value)
        if anew ~= value then
            odkim.replace_header(ctx, name, number, anew)
        end
        number = number + 1
        value = odkim.get_header(ctx, name, number)
    end
end

-- The one sender: the name stays. What this hook changes is what is signed; final.lua does it to the message.
local from = odkim.get_header(ctx, "From", 0)
if from ~= nil then
    local name = from:match('^%s*(.-)%s*<[^<>]*>%s*$') or ""
    odkim.replace_header(ctx, "From", 0, (name ~= "" and name .. " " or "") .. "<" .. "noreply@example.com" .. ">")
end
