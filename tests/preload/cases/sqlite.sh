# SPDX-License-Identifier: MIT
# The sqlite3 shell: 100,000 rows, indexes, joins, checks, a dump and its way back.
set -euo pipefail

sqlite3 data.db <<'END'
pragma page_size = 4096;
create table item(id integer primary key, name text, grp integer, price real, note blob);
create table grp(id integer primary key, label text unique);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
insert into item select i, printf('item-%d-%d', i * 7919 % 100003, i), i * 31 % 997, (i * 37 % 10007) / 100.0,
	zeroblob(i % 64) from n;
with recursive n(i) as (select 0 union all select i + 1 from n where i < 996)
insert into grp select i, 'group ' || (i * 13 % 997) from n;
create index item_grp on item(grp, price);
create index item_name on item(name);
analyze;
END

sqlite3 data.db <<'END'
.headers on
.mode column
select count(*), sum(grp), round(total(price), 2), sum(length(note)) from item;
select g.label, count(*) as n, round(avg(i.price), 3) as mean, group_concat(substr(i.name, 1, 8))
	from item i join grp g on g.id = i.grp where i.price < 3 group by g.label order by mean desc, g.label limit 8;
select count(*) from item a join item b on a.grp = b.grp and a.id < b.id where a.grp < 60;
select name, rank() over (partition by grp order by price desc, id) as r from item where grp = 5 order by r limit 5;
select count(distinct substr(name, -3)), max(length(name)) from item where name like '%-9%';
update item set price = price * 2, name = name || '+' where id % 3 = 0;
delete from item where id % 10 = 7;
select count(*), round(total(price), 2) from item;
explain query plan select * from item where grp = 3 and price > 5 order by name;
pragma integrity_check;
vacuum;
pragma integrity_check;
END
status=0
sqlite3 data.db "select * from no_such_table" || status=$?
echo "a missing table: $status"
sqlite3 data.db .dump | md5sum
sqlite3 data.db .dump | sqlite3 again.db
sqlite3 again.db "select count(*), sum(id * length(name)) from item"
sqlite3 -json data.db "select json_group_array(json_object('id', id, 'name', name)) as j from item where id < 50" | md5sum
