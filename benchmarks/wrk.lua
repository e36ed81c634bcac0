-- The requests of one measurement, of one user after the other.
-- Arguments: kind, tokens with commas, prefix of new names, number of widgets.
local kind, prefix, widgets
local count = 0
local authorizations, lists = {}, {}

function init(arguments)
  kind, prefix, widgets = arguments[1], arguments[3], tonumber(arguments[4])
  wrk.headers["Content-Type"] = kind == "post" and "application/json" or nil
  for token in arguments[2]:gmatch("[^,]+") do
    table.insert(authorizations, "Bearer " .. token)
    wrk.headers["Authorization"] = authorizations[#authorizations]
    if kind ~= "one" and kind ~= "post" then
      table.insert(lists, wrk.format("GET", "/widgets/?" .. kind))
    end
  end
end

function request()
  count = count + 1
  local user = count % #authorizations + 1
  if #lists > 0 then
    return lists[user]
  end
  wrk.headers["Authorization"] = authorizations[user]
  if kind == "one" then
    -- 7919 is prime: the ids walk through the whole table, in a scattered order.
    return wrk.format("GET", "/widgets/" .. (count * 7919 % widgets + 1))
  end
  return wrk.format("POST", "/widgets/", nil, '{"name": "' .. prefix .. count .. '"}')
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "rejected": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
