-- The load generator's side: wrk -s pipeline.lua URL -- DEPTH BEFORE [AFTER]
--
-- Every request carries a value of its own, BEFORE .. six digits .. AFTER, and DEPTH of them leave in one write (1: plain
-- keep-alive). wrk parses what request() returns when it starts, counts DEPTH requests in it, and then counts every
-- answer by itself, so its "requests" are answers, never batches. The batches are rendered before the run: what the
-- generator does per request stays one table look-up.

local BATCHES = 1024
local batches = {}
local turn = 0

function init(args)
   local depth, before, after = tonumber(args[1]), args[2], args[3] or ""
   math.randomseed(os.time())
   for i = 1, BATCHES do
      local batch = {}
      for j = 1, depth do
         batch[j] = wrk.format("GET", before .. math.random(100000, 999999) .. after)
      end
      batches[i] = table.concat(batch)
   end
end

function request()
   turn = turn % BATCHES + 1
   return batches[turn]
end

-- One line of exact integers: wrk's own report rounds the bytes, which the harness compares with the answers' size.
function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      "summary requests=%d duration_us=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
      summary.requests, summary.duration, summary.bytes, errors.connect, errors.read, errors.write, errors.status,
      errors.timeout))
end
