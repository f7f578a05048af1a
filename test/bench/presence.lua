-- wrk: one presence request after the other, over a million users at random. Behind "--" stand the API keys, which take turns.
math.randomseed(os.time())
local keys = {}
local turn = 0
function init(args)
  for i, key in ipairs(args) do
    keys[i] = { ["Authorization"] = "Bearer " .. key }
  end
end
request = function()
  turn = turn % #keys + 1
  return wrk.format("GET", "/users/user-" .. math.random(1, 1000000) .. "/presence", keys[turn])
end
