-- SPDX-License-Identifier: Apache-2.0
-- wrk's side of a measurement: the request from the environment, the result as one line of JSON on stderr.
-- No response() here: wrk then parses answers without calling Lua, and counts statuses of 400 and more itself.
wrk.method = os.getenv("BENCH_METHOD") or "GET"

local length = tonumber(os.getenv("BENCH_BODY") or "0")
if length > 0 then
    wrk.body = string.rep("b", length)
end

local cookie = os.getenv("BENCH_COOKIE") or ""
if cookie ~= "" then
    wrk.headers["Cookie"] = cookie
end

function done(summary, latency)
    local e = summary.errors
    io.stderr:write(string.format(
        '{"requests":%d,"bytes":%d,"us":%d,"p50":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.status, e.timeout))
end
