#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""trace_size.py [--json] [PROGRAM...]: how large recordings are, `kmem record`'s and heaptrack's, of the same programs.

Bytes of the file for each event, an event being an allocation or a free. heaptrack's file has no time, thread or address
with an event, but each allocation's call stack; kmem's has the former, and the call site, or with --stacks the call
stack. Most of it is the time, so there is a column of what is left with time stamps of 10 us (--clock=10000; heaptrack notes
the time every 10 ms). heaptrack packs by zstd in a process of its own, kmem by zstd while it records. Each program runs once in every
way: what it allocates does not depend on chance.

The last column is a recording of samples (--sample --stacks), one in 512 KiB: bytes for each of the program's events.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
KMEM = os.path.join(ROOT, "build", "kmem")

PYTHON = r"""
import collections, json, re
words = [f"word{i * 7919 % 10007}" for i in range(40000)]
for turn in range(3):
    counts = collections.Counter(words)
    index = collections.defaultdict(list)
    for place, word in enumerate(words):
        index[word].append((place, word.upper()))
    text = json.dumps(index)
    back = json.loads(text)
    kept = sorted(back.items(), key=lambda item: (-len(item[1]), item[0]))[:1000]
    found = [match.group(0) for match in re.finditer(r"WORD\d*7", text)]
"""

SQL = r"""
create table t(id integer primary key, name text, size integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
insert into t select i, 'name' || (i * 7919 % 10007), i * 31 % 1009 from n;
create index by_size on t(size, name);
select count(*), sum(size) from t where name like '%77%';
select size, count(*), group_concat(name) from t group by size order by 2 desc limit 20;
select a.id, b.id from t a join t b on a.name = b.name and a.id < b.id limit 5000;
update t set name = name || '-' || size where size % 7 = 0;
delete from t where size % 3 = 0;
"""

PERL = r"""
my (%count, @list);
for my $turn (1 .. 6) {
    for my $i (1 .. 30000) {
        my $word = "word" . ($i * 7919 % 10007);
        $count{$word}++;
        push @{$list[$i % 97]}, [$i, uc $word];
    }
    my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
    my $text = join ",", map { "$_=$count{$_}" } @sorted;
    my %back = map { split /=/ } split /,/, $text;
    @list = () if $turn % 2;
}
"""

# Threads that make lists of strings, and free what another one made.
THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4
#define TURNS 400
#define LENGTH 500

struct node {
	struct node *next;
	char *text;
};

static struct node *shared[THREADS];
static pthread_barrier_t barrier;

static void *work(void *arg)
{
	long self = (long)arg;
	unsigned long random = 88172645463325252UL + (unsigned long)self;

	for (int turn = 0; turn < TURNS; turn++) {
		struct node *list = NULL;

		for (int i = 0; i < LENGTH; i++) {
			struct node *node = malloc(sizeof(*node));
			char text[128];

			random ^= random << 13, random ^= random >> 7, random ^= random << 17;
			snprintf(text, sizeof(text), "%0*lx", (int)(random % 100) + 1, random >> 20);
			node->text = strdup(text);
			node->next = list;
			list = node;
			if (random % 3 == 0) {
				free(node->text);
				node->text = NULL;
			}
		}
		shared[self] = list;
		pthread_barrier_wait(&barrier);
		list = shared[(self + turn) % THREADS];
		while (list) {
			struct node *next = list->next;

			free(list->text);
			free(list);
			list = next;
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
"""


def programs(folder):
    """Command lines by name; only of programs that are here."""
    # in files, as heaptrack wants its command lines to be lines
    path = {}
    for name, text in {"work.py": PYTHON, "work.sql": SQL, "work.pl": PERL, "threads.c": THREADS}.items():
        path[name] = os.path.join(folder, name)
        with open(path[name], "w", encoding="utf-8") as file:
            file.write(text)
    binary = os.path.join(folder, "threads")
    subprocess.run(["cc", "-O2", "-g", "-pthread", path["threads.c"], "-o", binary], check=True)
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    found = {
        "python3": [python, path["work.py"]],
        "sqlite3": ["sqlite3", ":memory:", f".read {path['work.sql']}"],
        "perl": ["perl", path["work.pl"]],
        "git": ["git", "-C", ROOT, "--no-pager", "log", "--stat", "-n", "200"],
        "threads": [binary],
    }
    return {name: words for name, words in found.items() if shutil.which(words[0])}


def environment():
    plain = {name: value for name, value in os.environ.items()
             if name not in ("LD_PRELOAD", "KMALLOC_CMDLINE", "DEBUGINFOD_URLS")}
    return dict(plain, PYTHONMALLOC="malloc", PYTHONHASHSEED="1", PERL_HASH_SEED="1", LC_ALL="C")


def quiet(words, **more):
    return subprocess.run(words, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=True, **more).stdout


def kmem_size(words, options, folder):
    """Bytes; allocations and frees."""
    data = os.path.join(folder, "kmem.data")
    quiet([KMEM, "record", "-o", data, *options, "--", *words])
    total = json.loads(quiet([KMEM, "stat", "--json", data]))["total"]
    return os.path.getsize(data), total["allocs"] + total["frees"]


def kmem_knows(options, folder):
    done = subprocess.run([KMEM, "record", "-o", os.path.join(folder, "try"), *options, "--", "true"], env=environment(),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def heaptrack_size(words, folder):
    data = os.path.join(folder, "heaptrack")
    # its exit status is not the program's, nor always 0 when all went well
    subprocess.run(["heaptrack", "-o", data, *words], env=environment(), stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    packed = next(os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("heaptrack."))
    unpack = ["zstd", "-dc", packed] if packed.endswith(".zst") else ["gzip", "-dc", packed]
    events = 0
    with subprocess.Popen(unpack, stdout=subprocess.PIPE) as text:
        for line in text.stdout:
            events += line.startswith((b"+ ", b"- "))
    size = os.path.getsize(packed)
    os.unlink(packed)
    return size, events


def measure(names, folder):
    rows = []
    with_stacks = kmem_knows(["--all", "--stacks"], folder)
    for name, words in programs(folder).items():
        if names and name not in names:
            continue
        if sys.stderr.isatty():
            print(f"\r{name}\033[K", end="", file=sys.stderr)
        size, events = kmem_size(words, ["--all"], folder)
        row = {"program": name, "events": events, "kmem_sites": round(size / events, 3)}
        size, seen = kmem_size(words, ["--all", "--clock=10000"], folder)
        row["kmem_coarse"] = round(size / seen, 3)
        if with_stacks:
            size, seen = kmem_size(words, ["--all", "--stacks"], folder)
            row["kmem_stacks"] = round(size / seen, 3)
        if shutil.which("heaptrack"):
            size, seen = heaptrack_size(words, folder)
            row["heaptrack"] = round(size / seen, 3)
            row["heaptrack_events"] = seen
        row["kmem_samples"] = round(kmem_size(words, ["--sample", "--stacks"], folder)[0] / events, 3)
        rows.append(row)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return rows


COLUMNS = {"kmem_sites": "kmem, sites", "kmem_coarse": "kmem, 10 us", "kmem_stacks": "kmem, stacks", "heaptrack": "heaptrack",
           "kmem_samples": "kmem, samples"}


def show(rows):
    print(f"{'program':9} {'events':>10} " + " ".join(f"{title:>13}" for title in COLUMNS.values()))
    for row in rows:
        cells = (f"{row[key]:13.3f}" if key in row else f"{'':13}" for key in COLUMNS)
        print(f"{row['program']:9} {row['events']:10} " + " ".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="*")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not os.access(KMEM, os.X_OK):
        sys.exit("trace_size.py: no build/kmem: run tools/build, or `ninja -C build kmem`")
    with tempfile.TemporaryDirectory(prefix="trace-size-") as folder:
        rows = measure(options.program, folder)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
