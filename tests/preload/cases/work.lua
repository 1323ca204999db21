-- SPDX-License-Identifier: MIT
-- Lua hands each of its allocations to realloc: tables, strings, closures, coroutines, and the collector in all modes.
local function checksum(text)
	local h = 5381
	for i = 1, #text do
		h = (h * 33 ~ text:byte(i)) & 0xffffffff
	end
	return string.format("%08x", h)
end

local function tables()
	local t = {}
	for i = 1, 200000 do
		t[i] = { i, tostring(i), [i % 10] = i }
	end
	for i = 1, 200000, 2 do
		t[i] = nil
	end
	local keys = {}
	for i = 1, 50000 do
		keys["key" .. i * 7919 % 50021] = i
	end
	local names = {}
	for name in pairs(keys) do
		names[#names + 1] = name
	end
	table.sort(names)
	return #names, checksum(table.concat(names, ","))
end

local function strings()
	local parts = {}
	for i = 1, 20000 do
		parts[#parts + 1] = string.rep(string.char(97 + i % 26), i % 60) .. i
	end
	local text = table.concat(parts, "-")
	local changed = text:gsub("(%a+)(%d+)", function(a, d) return d .. a:upper() end)
	local grown = ""
	for i = 1, 4000 do
		grown = grown .. i
	end
	return #text, checksum(changed), checksum(grown)
end

local function coroutines()
	local function walk(n)
		return coroutine.wrap(function()
			for i = 1, n do
				coroutine.yield({ i, ("x"):rep(i) })
			end
		end)
	end
	local sum = 0
	for n = 1, 300 do
		for item in walk(n % 60) do
			sum = sum + item[1] * #item[2]
		end
	end
	return sum
end

local function weak_and_finalised()
	local closed = 0
	local weak = setmetatable({}, { __mode = "v" })
	for i = 1, 20000 do
		weak[i] = setmetatable({}, { __gc = function() closed = closed + 1 end })
	end
	collectgarbage()
	collectgarbage()
	return closed, next(weak) == nil
end

for _, mode in ipairs({ "incremental", "generational" }) do
	collectgarbage(mode)
	print(mode, "tables", tables())
	print(mode, "strings", strings())
	print(mode, "coroutines", coroutines())
	print(mode, "finalised", weak_and_finalised())
end
print("too much", pcall(string.rep, "x", 1 << 52))
print("error", select(2, pcall(error, { code = 7 })).code)
collectgarbage()
print("done")
