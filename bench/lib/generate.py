# SPDX-License-Identifier: MIT
"""Input for the programs: sources, texts, a repository. The same in every run."""
import os
import random
import subprocess

WORDS = ("alloc area barn batch block buffer bucket cache chain class count cursor depth "
         "entry field filter flag frame group handle header index item key label layer level "
         "limit line link list lock map mask name node number offset order owner page parent "
         "path pool queue range rank record region result ring root row score segment shard "
         "size slot stack state step table token total tree value vector weight width "
         "window word zone").split()

C_FUNCTIONS = [
    """
static int {n}_compare(const struct {s} *a, const struct {s} *b)
{{
	if (a->{f0} != b->{f0})
		return a->{f0} < b->{f0} ? -1 : 1;
	if (a->{f1} != b->{f1})
		return a->{f1} < b->{f1} ? -1 : 1;
	return strcmp(a->name, b->name);
}}

void {n}_sort(struct {s} *items, int count)
{{
	for (int gap = count / 2; gap > 0; gap /= 2)
		for (int i = gap; i < count; i++) {{
			struct {s} item = items[i];
			int j = i;

			for (; j >= gap && {n}_compare(&items[j - gap], &item) > 0; j -= gap)
				items[j] = items[j - gap];
			items[j] = item;
		}}
}}
""", """
int {n}_parse(const char *text, struct {s} *out)
{{
	enum {{ START, NAME, NUMBER, DONE }} state = START;
	unsigned int length = 0;
	long value = 0;

	for (const char *c = text; *c && state != DONE; c++) {{
		switch (state) {{
		case START:
			if (*c == ' ' || *c == '\\t')
				break;
			state = NAME;
			/* fall through */
		case NAME:
			if (*c == '=')
				state = NUMBER;
			else if (length < sizeof(out->name) - 1)
				out->name[length++] = *c;
			break;
		case NUMBER:
			if (*c >= '0' && *c <= '9')
				value = value * 10 + (*c - '0') + {k0};
			else if (*c == ';')
				state = DONE;
			else
				return -{k1};
			break;
		case DONE:
			break;
		}}
	}}
	out->name[length] = 0;
	out->{f0} = (int)value;
	out->{f1} = (int)(value >> {k2});
	return state == DONE;
}}
""", """
unsigned int {n}_hash(const struct {s} *items, int count, unsigned int *table, int bits)
{{
	unsigned int worst = 0;

	for (int i = 0; i < count; i++) {{
		unsigned int h = {k0}u;

		for (const char *c = items[i].name; *c; c++)
			h = (h ^ (unsigned char)*c) * {k1}u;
		h ^= (unsigned int)items[i].{f0} << {k2};
		h >>= 32 - bits;
		if (++table[h] > worst)
			worst = table[h];
	}}
	return worst;
}}
""", """
double {n}_mean(const struct {s} *items, int count, double *spread)
{{
	double sum = 0, squares = 0;

	if (count <= 0)
		return 0;
	for (int i = 0; i < count; i++) {{
		double x = items[i].weight * {k0} + items[i].{f1};

		sum += x;
		squares += x * x;
	}}
	*spread = squares / count - (sum / count) * (sum / count);
	return sum / count;
}}
""", """
struct {s} *{n}_insert(struct {s} *root, struct {s} *item)
{{
	struct {s} **at = &root;

	while (*at) {{
		long key = (long)(*at)->{f0} * {k0} - item->{f0};

		at = key < 0 ? &(*at)->left : &(*at)->right;
		if (key == {k1} && *at && (*at)->{f1} > item->{f1}) {{
			struct {s} *moved = *at;

			*at = item;
			item->left = moved;
			item = moved;
			at = &moved->left;
		}}
	}}
	*at = item;
	return root;
}}
""", """
void {n}_multiply(const double a[{k2}][{k2}], const double b[{k2}][{k2}], double out[{k2}][{k2}])
{{
	for (int i = 0; i < {k2}; i++)
		for (int j = 0; j < {k2}; j++) {{
			double sum = {k0};

			for (int k = 0; k < {k2}; k++)
				sum += a[i][k] * b[k][j];
			out[i][j] = sum > {k1} ? {k1} : sum;
		}}
}}
"""]


def c_source(path, functions=130):
    rng = random.Random(11)
    out = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    structs = []
    for i in range(functions // 6 + 1):
        name = f"{rng.choice(WORDS)}_{i}"
        fields = rng.sample(WORDS, 4)
        structs.append((name, fields))
        out.append(f"struct {name} {{\n\tchar name[{rng.choice((16, 24, 32, 48))}];")
        out += [f"\tint {field};" for field in fields if field not in ("name",)]
        out.append("\tdouble weight_;\n\tstruct %s *left, *right;\n};" % name)
    for i in range(functions):
        struct, fields = structs[rng.randrange(len(structs))]
        fields = [field for field in fields if field != "name"]
        text = C_FUNCTIONS[i % len(C_FUNCTIONS)].replace("weight *", "weight_ *")
        out.append(text.format(n=f"{rng.choice(WORDS)}{i}", s=struct, f0=fields[0], f1=fields[1],
                               k0=rng.randrange(3, 99), k1=rng.randrange(3, 99),
                               k2=rng.randrange(3, 15)))
    path.write_text("/* Generated. */\n" + "\n".join(out))


CXX_UNIT = """
struct {s} {{
	int {f0} = {k0};
	double {f1} = {k1}.5;
	std::string label;
	bool operator<(const {s} &other) const
	{{
		return std::tie({f0}, {f1}, label) < std::tie(other.{f0}, other.{f1}, other.label);
	}}
}};

template <> struct shape<{s}> {{
	static constexpr int rank = {k0};
	static double area(const {s} &item) {{ return item.{f1} * rank; }}
}};

double use_{s}(const std::vector<std::string> &text)
{{
	std::map<std::string, std::vector<{s}>> groups;
	std::set<{s}> all;
	for (const auto &line : text) {{
		{s} item;
		item.{f0} = static_cast<int>(line.size()) % {k1};
		item.label = line.substr(0, {k0});
		groups[item.label].push_back(item);
		all.insert(std::move(item));
	}}
	double sum = 0;
	for (auto &[label, items] : groups) {{
		std::sort(items.begin(), items.end(),
			  [](const {s} &a, const {s} &b) {{ return a.{f1} > b.{f1}; }});
		sum += std::accumulate(items.begin(), items.end(), 0.0,
				       [](double x, const {s} &item) {{ return x + total(item); }});
	}}
	std::variant<int, std::string, {s}> any = all.empty() ? {s}() : *all.begin();
	return sum + std::visit([](const auto &x) {{ return size_of(x); }}, any);
}}
"""


def cxx_source(path, units=4):
    rng = random.Random(12)
    out = ["// Generated."]
    out += [f"#include <{name}>" for name in
            "algorithm functional map memory numeric set string tuple variant vector".split()]
    out.append("""
template <typename T> struct shape;
template <typename T> double total(const T &item) { return shape<T>::area(item) + 1; }
inline double size_of(int n) { return n; }
inline double size_of(const std::string &s) { return s.size(); }
template <typename T> double size_of(const T &item) { return total(item); }
""")
    for i in range(units):
        f0, f1 = rng.sample(WORDS, 2)
        out.append(CXX_UNIT.format(s=f"{rng.choice(WORDS)}_{i}", f0=f0 + "_", f1=f1 + "_",
                                   k0=rng.randrange(2, 20), k1=rng.randrange(20, 90)))
    path.write_text("\n".join(out))


def lines(path, count, seed=13):
    """Lines of random words and numbers, for sort and xz."""
    rng = random.Random(seed)
    with open(path, "w") as out:
        for i in range(count):
            out.write(f"{rng.randrange(1 << 30):x} {rng.choice(WORDS)}-{rng.randrange(900)} "
                      f"{' '.join(rng.choices(WORDS, k=3))} {i % 1000}\n")


def manual_page(path, sections=350):
    rng = random.Random(14)
    out = [".TH SAMPLE 1", ".SH NAME", "sample \\- a long manual page"]
    for i in range(sections):
        out.append(f".SH {rng.choice(WORDS).upper()} {i}")
        for _ in range(12):
            out += [".TP", f".BI \\-\\-{rng.choice(WORDS)} = {rng.choice(WORDS)}",
                    " ".join(rng.choices(WORDS, k=rng.randrange(20, 70))) + "."]
        out += [".PP", " ".join(rng.choices(WORDS, k=80)) + "."]
    path.write_text("\n".join(out) + "\n")


def repository(path, environment, commits=150, files=200):
    """A git repository of loose objects only: a stream of commits, unpacked."""
    rng = random.Random(15)
    texts = {f"{rng.choice(WORDS)}/{rng.choice(WORDS)}{i}.txt":
             [" ".join(rng.choices(WORDS, k=10)) for _ in range(120)] for i in range(files)}
    stream = []
    for number in range(commits):
        names = list(texts) if number == 0 else rng.sample(sorted(texts), 15)
        stream.append("commit refs/heads/main\n"
                      f"committer Sample <sample@example.org> {1600000000 + number * 600} +0000\n"
                      f"data 8\nstep {number:03d}\n")
        for name in names:
            text = texts[name]
            for _ in range(4):
                text[rng.randrange(len(text))] = " ".join(rng.choices(WORDS, k=10))
            body = "\n".join(text) + "\n"
            stream.append(f"M 100644 inline {name}\ndata {len(body)}\n{body}\n")
    git = ["git", "-C", str(path)]
    path.mkdir()
    subprocess.run(git + ["init", "-q", "-b", "main"], env=environment, check=True)
    subprocess.run(git + ["-c", "fastimport.unpackLimit=1000000", "fast-import", "--quiet"],
                   input="".join(stream).encode(), env=environment, check=True)


def authorized_keys(path, count, environment):
    """COUNT lines with the same public key and different comments."""
    key = path.with_name("sample-key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)],
                   env=environment, check=True)
    public = key.with_name("sample-key.pub").read_text().split()
    with open(path, "w") as out:
        for i in range(count):
            out.write(f"{public[0]} {public[1]} user{i}@host{i % 97}.example.org\n")


def file_list(path, count):
    """Names of files of this system, for file(1)."""
    names = []
    for folder in ("/usr/bin", "/usr/share/doc", "/usr/lib"):
        for root, _, files in os.walk(folder):
            names += [os.path.join(root, name) for name in sorted(files)]
            if len(names) > 40 * count:
                break
    names = sorted(name for name in names if os.path.isfile(name))
    names = names[::max(1, len(names) // count)][:count]
    path.write_text("\n".join(names) + "\n")
