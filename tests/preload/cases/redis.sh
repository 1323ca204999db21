# SPDX-License-Identifier: MIT
# A redis server on a socket in this folder: the benchmark with bounded counts, commands, BGSAVE, and a restart.
set -euo pipefail

socket=$PWD/r.sock
server=

# Whatever happens, no server stays.
cleanup() {
	if [[ -n $server ]]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
}
trap cleanup EXIT

cli() { redis-cli -s "$socket" "$@"; }

start() {
	redis-server --port 0 --unixsocket "$socket" --dir "$PWD" --save '' --appendonly "$1" --daemonize no \
		--enable-debug-command yes --io-threads 2 --latency-tracking no >>server.log 2>&1 &
	server=$!
	for _ in {1..300}; do
		[[ $(cli ping 2>/dev/null) == PONG ]] && break
		sleep 0.1
	done
	cli ping
	# Under a preloaded library this very process must have it mapped.
	if [[ -n ${LD_PRELOAD:-} ]] && ! grep -qF "$LD_PRELOAD" "/proc/$server/maps"; then
		echo "the server runs without $LD_PRELOAD" >&2
		exit 1
	fi
}

stop() {
	cli shutdown nosave || true
	wait "$server" || echo "the server ended with $?"
	server=
}

wait_for() {
	for _ in {1..300}; do
		cli info persistence | tr -d '\r' | grep -qx "$1" && return
		sleep 0.1
	done
	echo "never: $1" >&2
	exit 1
}

start no
redis-benchmark -s "$socket" -q -n 8000 -c 20 -P 8 -r 2000 -d 100 \
	-t ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,lrange_100,mset | tr '\r' '\n' | grep 'requests per second'
redis-benchmark -s "$socket" -q -n 4000 -c 10 --threads 2 -d 3000 -t set,get | tr '\r' '\n' | grep 'requests per second'
cli flushall
cli eval 'for i = 1, tonumber(ARGV[1]) do
	redis.call("set", "k" .. i, string.rep("v", i % 700))
	redis.call("rpush", "l" .. i % 50, i, i * 2)
	redis.call("hset", "h" .. i % 20, "f" .. i, i)
	redis.call("zadd", "z" .. i % 7, i * 37 % 101, "m" .. i)
	redis.call("sadd", "s" .. i % 3, i)
end return redis.call("dbsize")' 0 12000
cli debug digest >before
cli bgsave
wait_for rdb_bgsave_in_progress:0
wait_for rdb_last_bgsave_status:ok
# Keys written while a child saves are copied on write.
cli bgsave
cli eval 'for i = 1, 4000 do redis.call("append", "k" .. i, "more") end return 1' 0
wait_for rdb_bgsave_in_progress:0
cli eval 'for i = 1, 6000 do redis.call("del", "k" .. i) end return redis.call("dbsize")' 0
cli memory purge
cli object encoding l1
cli sort s1 limit 0 5 desc
cli zrangebyscore z3 5 7 limit 0 5
cli config set activedefrag no
cli save
cli debug digest >before
stop

redis-check-rdb dump.rdb | grep -E 'keys read|RDB looks OK|already expired' | sed 's/^\[offset [0-9]*\] //'
start no
cli debug digest >after
cmp before after
cat after
cli config set appendonly yes
wait_for aof_rewrite_in_progress:0
cli incrby counter 5
cli debug loadaof
cli get counter
stop
