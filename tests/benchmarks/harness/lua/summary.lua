-- What wrk saw, as one line of JSON: the fields of `Measured` in harness/wrk.py. Scripts for wrk load it by `dofile`.
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    '{"seconds":%f,"requests":%d,"refused":%d,"broken":%d,"p50_ms":%f,"p95_ms":%f,"p99_ms":%f,"max_ms":%f}',
    summary.duration / 1e6, summary.requests, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
