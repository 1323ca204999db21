/* SPDX-License-Identifier: MIT */
/*
 * step_sections.c - the restartable sequences of a binary: descriptors from its sections
 * (position-independent, so their addresses are addends of relocations), instructions
 * and jumps from objdump, names from the symbol table.
 */
#include "step.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* struct rseq_cs of the kernel's ABI */
#define CS_BYTES 32
#define CS_START 8
#define CS_LENGTH 16
#define CS_ABORT 24

struct instruction {
	uint64_t address;
	uint64_t target; /* of a direct jump; 0: is none */
	bool is_clock;	 /* reads the time stamp counter */
};

struct binary {
	const char *path;
	const unsigned char *file;
	const Elf64_Shdr *headers;
	unsigned nr_headers;
	struct instruction *code; /* in the order of addresses */
	size_t nr_code;
};

static void binary_open(struct binary *binary, const char *path)
{
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &stat) != 0)
		step_fail("%s cannot be read", path);
	binary->path = path;
	binary->file = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (binary->file == MAP_FAILED || memcmp(binary->file, ELFMAG, SELFMAG) != 0)
		step_fail("%s is no ELF file", path);

	const Elf64_Ehdr *header = (const Elf64_Ehdr *)binary->file;

	binary->headers = (const Elf64_Shdr *)(binary->file + header->e_shoff);
	binary->nr_headers = header->e_shnum;
}

static const Elf64_Shdr *find_header(const struct binary *binary, const char *name)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)binary->file;
	const char *names = (const char *)binary->file +
			    binary->headers[header->e_shstrndx].sh_offset;

	for (unsigned i = 0; i < binary->nr_headers; i++)
		if (!strcmp(names + binary->headers[i].sh_name, name))
			return &binary->headers[i];
	step_fail("%s has no section %s", binary->path, name);
}

/* The address stored in a word of data: the addend of its relocation, or the word itself. */
static uint64_t address_at(const struct binary *binary, const Elf64_Shdr *section, uint64_t word)
{
	const Elf64_Shdr *header = find_header(binary, ".rela.dyn");
	const Elf64_Rela *rela = (const Elf64_Rela *)(binary->file + header->sh_offset);
	uint64_t value;

	for (size_t i = 0; i < header->sh_size / sizeof(*rela); i++)
		if (rela[i].r_offset == word && ELF64_R_TYPE(rela[i].r_info) == R_X86_64_RELATIVE)
			return (uint64_t)rela[i].r_addend;
	memcpy(&value, binary->file + section->sh_offset + (word - section->sh_addr), 8);
	return value;
}

/* "  401000:\tjne    401020 <name+0x20>", less the operands of what is no jump. */
static bool parse_line(char *line, struct instruction *found)
{
	char *end, *text = strchr(line, '\t');
	char name[16], operand[40];

	found->address = strtoull(line, &end, 16);
	if (*end != ':' || !text)
		return false;
	found->target = 0;
	found->is_clock = !strncmp(text + 1, "rdtsc", 5);
	if (sscanf(text, " %15s %39s", name, operand) == 2 && name[0] == 'j' && operand[0] != '*')
		found->target = strtoull(operand, NULL, 16);
	return true;
}

static void read_code(struct binary *binary)
{
	char command[600], line[400];
	size_t room = 0;
	FILE *out;

	snprintf(command, sizeof(command),
		 "env -u LD_PRELOAD LC_ALL=C objdump -d -w --no-show-raw-insn '%s'", binary->path);
	out = popen(command, "re");
	while (out && fgets(line, sizeof(line), out)) {
		struct instruction found;

		if (!parse_line(line, &found))
			continue;
		if (binary->nr_code == room) {
			room = room ? 2 * room : 1 << 14;
			binary->code = realloc(binary->code, room * sizeof(found));
			if (!binary->code)
				step_fail("no memory for the instructions of %s", binary->path);
		}
		binary->code[binary->nr_code++] = found;
	}
	if (!out || pclose(out) != 0 || !binary->nr_code) {
		step_say(2, "skipped: objdump (binutils) does not show %s", binary->path);
		_exit(STEP_SKIP);
	}
}

static size_t code_at(const struct binary *binary, uint64_t address)
{
	for (size_t i = 0; i < binary->nr_code; i++)
		if (binary->code[i].address == address)
			return i;
	step_fail("%s: no instruction begins at %#" PRIx64, binary->path, address);
}

static void name_section(const struct binary *binary, struct step_section *section)
{
	const Elf64_Shdr *table = find_header(binary, ".symtab");
	const Elf64_Sym *symbols = (const Elf64_Sym *)(binary->file + table->sh_offset);
	const char *names = (const char *)binary->file + binary->headers[table->sh_link].sh_offset;

	snprintf(section->name, sizeof(section->name), "%#" PRIx64, section->start);
	for (size_t i = 0; i < table->sh_size / sizeof(*symbols); i++) {
		const Elf64_Sym *symbol = &symbols[i];
		unsigned type = ELF64_ST_TYPE(symbol->st_info);

		if (type != STT_FUNC || section->start - symbol->st_value >= symbol->st_size)
			continue;
		snprintf(section->name, sizeof(section->name), "%s+%#" PRIx64,
			 names + symbol->st_name, section->start - symbol->st_value);
		/* of aliases the plain one */
		if (names[symbol->st_name] != '_')
			return;
	}
}

static void add_point(struct step_section *section, uint64_t point)
{
	if (section->nr_points == STEP_POINTS_MAX)
		step_fail("%s has too many instructions", section->name);
	section->point[section->nr_points++] = point;
}

static void walk_section(const struct binary *binary, struct step_section *section)
{
	size_t at = code_at(binary, section->abort);

	section->entry = binary->code[at].target;
	if (!section->entry || section->entry >= section->start)
		step_fail("%s: its abort handler does not lead to its beginning", section->name);
	add_point(section, section->abort);
	for (at = code_at(binary, section->entry); binary->code[at].address < section->post; at++) {
		uint64_t target = binary->code[at].target;

		add_point(section, binary->code[at].address);
		section->is_event |= binary->code[at].is_clock;
		if (!target)
			continue;
		if (section->nr_misses == STEP_MISSES_MAX)
			step_fail("%s has too many ways out", section->name);
		section->miss[section->nr_misses++] = target;
	}
	add_point(section, binary->code[at].address);
	if (binary->code[at].address != section->post)
		step_fail("%s ends inside of an instruction", section->name);
}

unsigned step_sections(const char *path, struct step_section *sections, unsigned max)
{
	struct binary binary = { 0 };
	const Elf64_Shdr *array, *descriptors;
	size_t count;

	binary_open(&binary, path);
	array = find_header(&binary, "__rseq_cs_ptr_array");
	descriptors = find_header(&binary, "__rseq_cs");
	count = array->sh_size / 8;
	if (count != descriptors->sh_size / CS_BYTES || !count || count > max)
		step_fail("%s: %zu sections are named, %zu described", path, count,
			  (size_t)descriptors->sh_size / CS_BYTES);
	read_code(&binary);
	for (size_t i = 0; i < count; i++) {
		struct step_section *section = &sections[i];
		uint64_t cs = address_at(&binary, array, array->sh_addr + i * 8);

		memset(section, 0, sizeof(*section));
		section->start = address_at(&binary, descriptors, cs + CS_START);
		section->post = section->start + address_at(&binary, descriptors, cs + CS_LENGTH);
		section->abort = address_at(&binary, descriptors, cs + CS_ABORT);
		name_section(&binary, section);
		walk_section(&binary, section);
	}
	free(binary.code);
	return (unsigned)count;
}
