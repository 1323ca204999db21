-- SPDX-License-Identifier: MIT
-- Binary trees of tables: built, counted, dropped; and strings as keys.

local function tree(depth)
  if depth == 0 then
    return {}
  end
  return { tree(depth - 1), tree(depth - 1) }
end

local function count(node)
  if not node[1] then
    return 1
  end
  return 1 + count(node[1]) + count(node[2])
end

local total = 0
local kept = tree(15)
for depth = 4, 14, 2 do
  for _ = 1, 2 ^ (14 - depth) * 24 do
    total = total + count(tree(depth))
  end
end

local names = {}
for i = 1, 200000 do
  local name = "name-" .. (i * 7919 % 40000)
  names[name] = (names[name] or "") .. "x"
end
for _, value in pairs(names) do
  total = total + #value
end
print(total + count(kept))
