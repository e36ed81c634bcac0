-- The requests of one measurement. Arguments: kind, token, prefix of new names, number of widgets.
local kind, token, prefix, widgets
local count = 0
local list

function init(arguments)
  kind, token, prefix, widgets = arguments[1], arguments[2], arguments[3], tonumber(arguments[4])
  wrk.headers["Authorization"] = "Bearer " .. token
  wrk.headers["Content-Type"] = kind == "post" and "application/json" or nil
  if kind ~= "one" and kind ~= "post" then
    list = wrk.format("GET", "/widgets/?" .. kind)
  end
end

function request()
  if list then
    return list
  end
  count = count + 1
  if kind == "one" then
    -- 7919 is prime: the ids walk through the whole table, in a scattered order.
    return wrk.format("GET", "/widgets/" .. (count * 7919 % widgets + 1))
  end
  return wrk.format("POST", "/widgets/", nil, '{"name": "' .. prefix .. count .. '"}')
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
