-- Requests for wrk: another user each time. Arguments: number of users, k, for a paced load the mean pause in ms between a
-- connection's requests (exponential, so that arrivals are those of many independent clients), the deadline in ms,
-- and further headers.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "summary.lua")
local users, k, pause, deadline
local headers = { ["Content-Type"] = "application/json" }

function init(args)
  users, k, pause, deadline = tonumber(args[1]), tonumber(args[2]), tonumber(args[3] or 0), tonumber(args[4] or 2000)
  for i = 5, #args do
    local name, value = string.match(args[i], "([^:]+): (.*)")
    headers[name] = value
  end
  math.randomseed(7)
  if pause > 0 then
    delay = function() return -pause * math.log(1 - math.random()) end
  end
end

function request()
  local body = string.format('{"user_id":"u%05d","k":%d,"timeout_ms":%d}', math.random(1, users), k, deadline)
  return wrk.format("POST", "/v1/recommend", headers, body)
end
