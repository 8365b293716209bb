-- Requests for wrk: batches of events that nobody has sent before. Arguments: a prefix of their ids, number of users,
-- number of items, events in a request.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "../harness/lua/summary.lua")
local prefix, users, items, size
local count = 0
local headers = { ["Content-Type"] = "application/json" }

function init(args)
  prefix, users, items, size = args[1], tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  math.randomseed(11)
end

function request()
  local events, now = {}, os.time() - 1
  for i = 1, size do
    count = count + 1
    events[i] = string.format('{"event_id":"%s-%d","user_id":"u%05d","item_id":"i%05d","type":"click","time":%d}',
      prefix, count, math.random(1, users), math.random(1, items), now)
  end
  return wrk.format("POST", "/v1/events", headers, '{"events":[' .. table.concat(events, ",") .. ']}')
end
