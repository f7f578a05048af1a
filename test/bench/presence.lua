-- wrk: one presence request after the other, over a million users at random.
math.randomseed(os.time())
request = function()
  return wrk.format("GET", "/users/user-" .. math.random(1, 1000000) .. "/presence")
end
