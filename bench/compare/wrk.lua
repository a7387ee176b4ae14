-- SPDX-License-Identifier: Apache-2.0
-- wrk's side of a measurement: the request as it stands in a file, the result as one line of JSON on stderr.
-- No request() and no response() here: wrk then calls no Lua while it runs, and counts statuses of 400 and more itself.
function init()
    local file = assert(io.open(os.getenv("BENCH_REQUEST"), "rb"))
    local request = file:read("*a")
    file:close()
    wrk.format = function() return request end
end

function done(summary, latency)
    local e = summary.errors
    io.stderr:write(string.format(
        '{"requests":%d,"bytes":%d,"us":%d,"p50":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.status, e.timeout))
end
