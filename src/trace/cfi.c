/* SPDX-License-Identifier: MIT */
/*
 * cfi.c - the tables that compilers put into every program: .eh_frame, found through .eh_frame_hdr.
 *
 * The kernel's counterpart is tools/objtool/orc_gen.c, which boils DWARF's call frame information down to what the
 * kernel's unwinder needs: where the caller's stack pointer is, and where its rbp. Differences: that is done while the
 * process runs, an instruction at a time, for those that stacks go through (unwind.c remembers them); nothing is made
 * beforehand. Formats: DWARF 5, section 6.4; LSB Core 5.0, section 10.6 (.eh_frame, .eh_frame_hdr).
 *
 * The C library says in which file an address is (_dl_find_object(), glibc 2.35), without a lock. A file is not unloaded while a
 * stack goes through it. One whose tables are damaged gives a wrong stack at worst: nothing is read outside its mapping.
 *
 * Steps: 1. the file; 2. the FDE, by binary search; 3. its CIE; 4. the instructions of both, up to the address.
 *
 * Followed are rules by rsp and rbp, which is what compilers write at a call. Not followed: rules by other registers
 * (the dynamic linker's lazy binding), and expressions other than "rbp + n" and "what stands at rbp + n" (a
 * procedure linkage table, which is never on a stack). No state, no locks.
 */
#include "trace/cfi.h"

#include <dlfcn.h>
#include <string.h>

#define REG_BP 6
#define REG_SP 7
#define REG_RA 16
#define WORD ((int64_t)sizeof(uintptr_t))
#define TABLE_ENTRY 8
#define KEPT_MAX 8 /* rows on the stack of DW_CFA_remember_state */

/* A pointer's format, and what it counts from. */
enum {
	PE_ABSPTR = 0x00,
	PE_ULEB = 0x01,
	PE_UDATA2 = 0x02,
	PE_UDATA4 = 0x03,
	PE_UDATA8 = 0x04,
	PE_SLEB = 0x09,
	PE_SDATA2 = 0x0a,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_FORMAT = 0x0f,
	PE_PCREL = 0x10,
	PE_BASE = 0x70,
	PE_INDIRECT = 0x80,
	PE_SEARCH_TABLE =
		0x3b, /* data-relative, four bytes with a sign: the only one that linkers write */
};

enum {
	CFA_NOP = 0x00,
	CFA_SET_LOC = 0x01,
	CFA_ADVANCE_LOC1 = 0x02,
	CFA_ADVANCE_LOC2 = 0x03,
	CFA_ADVANCE_LOC4 = 0x04,
	CFA_OFFSET_EXTENDED = 0x05,
	CFA_RESTORE_EXTENDED = 0x06,
	CFA_UNDEFINED = 0x07,
	CFA_SAME_VALUE = 0x08,
	CFA_REGISTER = 0x09,
	CFA_REMEMBER_STATE = 0x0a,
	CFA_RESTORE_STATE = 0x0b,
	CFA_DEF_CFA = 0x0c,
	CFA_DEF_CFA_REGISTER = 0x0d,
	CFA_DEF_CFA_OFFSET = 0x0e,
	CFA_DEF_CFA_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_OFFSET_EXTENDED_SF = 0x11,
	CFA_DEF_CFA_SF = 0x12,
	CFA_DEF_CFA_OFFSET_SF = 0x13,
	CFA_VAL_OFFSET = 0x14,
	CFA_VAL_OFFSET_SF = 0x15,
	CFA_VAL_EXPRESSION = 0x16,
	CFA_GNU_ARGS_SIZE = 0x2e,
	/* the operand is in the lower six bits */
	CFA_ADVANCE_LOC = 0x40,
	CFA_OFFSET = 0x80,
	CFA_RESTORE = 0xc0,
	CFA_OPERAND = 0x3f,
};

enum { OP_DEREF = 0x06, OP_BREG0 = 0x70, OP_BREG31 = 0x8f };

/* Reads up to `end`, and no further: then all that it gives is 0, and it is bad. */
struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

enum place {
	PLACE_SAME,
	PLACE_CFA, /* at the CFA + offset */
	PLACE_BP,  /* at rbp + offset */
	PLACE_NONE,
	PLACE_HARD,
};

/* A row of the table that the instructions stand for. */
struct row {
	enum unwind_kind cfa_kind;
	uint64_t cfa_reg;
	int64_t cfa;
	enum place bp_place, ra_place;
	int64_t bp, ra;
};

struct cie {
	struct cursor program;
	uint64_t code_align;
	int64_t data_align;
	uint8_t encoding; /* of the FDE's pointers */
	bool has_augmentation, is_signal;
};

/* The state of the instructions' run. */
struct run {
	const struct cie *cie;
	uintptr_t loc, target;
	struct row row, first, kept[KEPT_MAX];
	unsigned nr_kept;
};

static uint64_t fail(struct cursor *cursor)
{
	cursor->bad = true;
	cursor->at = cursor->end;
	return 0;
}

static bool at_end(const struct cursor *cursor)
{
	return cursor->at >= cursor->end;
}

static uint64_t read_fixed(struct cursor *cursor, size_t size)
{
	uint64_t value = 0;

	if (cursor->bad || (size_t)(cursor->end - cursor->at) < size)
		return fail(cursor);
	memcpy(&value, cursor->at, size);
	cursor->at += size;
	return value;
}

static void skip(struct cursor *cursor, uint64_t size)
{
	if (cursor->bad || (uint64_t)(cursor->end - cursor->at) < size)
		fail(cursor);
	else
		cursor->at += size;
}

/* [sign] The last byte's bit 6 is the sign. */
static uint64_t read_leb(struct cursor *cursor, bool sign)
{
	uint64_t value = 0;
	uint8_t byte;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (at_end(cursor))
			break;
		byte = *cursor->at++;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (sign && byte & 0x40 && shift + 7 < 64)
			value |= ~0UL << (shift + 7);
		return value;
	}
	return fail(cursor);
}

static uint64_t read_uleb(struct cursor *cursor)
{
	return read_leb(cursor, false);
}

static int64_t read_sleb(struct cursor *cursor)
{
	return (int64_t)read_leb(cursor, true);
}

static uint64_t read_format(struct cursor *cursor, uint8_t encoding)
{
	switch (encoding & PE_FORMAT) {
	case PE_ABSPTR:
	case PE_UDATA8:
	case PE_SDATA8:
		return read_fixed(cursor, 8);
	case PE_ULEB:
		return read_uleb(cursor);
	case PE_SLEB:
		return (uint64_t)read_sleb(cursor);
	case PE_UDATA2:
		return read_fixed(cursor, 2);
	case PE_SDATA2:
		return (uint64_t)(int16_t)read_fixed(cursor, 2);
	case PE_UDATA4:
		return read_fixed(cursor, 4);
	case PE_SDATA4:
		return (uint64_t)(int32_t)read_fixed(cursor, 4);
	default:
		return fail(cursor);
	}
}

static uintptr_t read_pointer(struct cursor *cursor, uint8_t encoding)
{
	uintptr_t here = (uintptr_t)cursor->at;
	uint64_t value = read_format(cursor, encoding);

	if (encoding & PE_INDIRECT)
		return fail(cursor);
	if ((encoding & PE_BASE) == PE_PCREL)
		return value + here;
	return encoding & PE_BASE ? fail(cursor) : value;
}

/* What is in an entry of .eh_frame, behind its length. */
static struct cursor entry_at(uintptr_t address, const struct dl_find_object *object)
{
	uintptr_t start = (uintptr_t)object->dlfo_map_start, end = (uintptr_t)object->dlfo_map_end;
	struct cursor cursor = { (const uint8_t *)address, (const uint8_t *)end,
				 !address || address < start || address >= end };
	uint64_t length;

	if (cursor.bad)
		return cursor;
	length = read_fixed(&cursor, 4);
	/* 0 ends the section; the largest is followed by eight bytes, which nobody writes */
	if (!length || length == UINT32_MAX || length > (uint64_t)(cursor.end - cursor.at))
		fail(&cursor);
	else
		cursor.end = cursor.at + length;
	return cursor;
}

/* The search table's entries: where a function begins, and its FDE; both from the header on. */
static int64_t table_word(const uint8_t *table, uint64_t entry, unsigned word)
{
	int32_t value;

	memcpy(&value, table + entry * TABLE_ENTRY + word * sizeof(value), sizeof(value));
	return value;
}

/* The FDE that begins last of those not behind ip; 0: none. */
static uintptr_t find_fde(uintptr_t ip, const struct dl_find_object *object)
{
	uintptr_t header = (uintptr_t)object->dlfo_eh_frame;
	struct cursor cursor = { object->dlfo_eh_frame, object->dlfo_map_end, false };
	uint64_t count, low = 0, high;
	uint8_t frame_encoding, count_encoding, table_encoding;
	const uint8_t *table;
	int64_t wanted = (int64_t)(ip - header);

	if (!header || read_fixed(&cursor, 1) != 1)
		return 0;
	frame_encoding = (uint8_t)read_fixed(&cursor, 1);
	count_encoding = (uint8_t)read_fixed(&cursor, 1);
	table_encoding = (uint8_t)read_fixed(&cursor, 1);
	read_format(&cursor, frame_encoding);
	count = read_format(&cursor, count_encoding);
	if (cursor.bad || table_encoding != PE_SEARCH_TABLE || !count ||
	    count > (uint64_t)(cursor.end - cursor.at) / TABLE_ENTRY)
		return 0;
	table = cursor.at;
	if (wanted < table_word(table, 0, 0))
		return 0;
	for (high = count; high - low > 1;) {
		uint64_t middle = low + (high - low) / 2;

		if (table_word(table, middle, 0) <= wanted)
			low = middle;
		else
			high = middle;
	}
	return header + (uintptr_t)table_word(table, low, 1);
}

static bool parse_augmentation(struct cursor *cursor, const char *letters, struct cie *cie)
{
	uint64_t length = read_uleb(cursor);
	const uint8_t *end;

	if (length > (uint64_t)(cursor->end - cursor->at))
		return false;
	end = cursor->at + length;
	for (; *letters; letters++) {
		uint8_t encoding;

		switch (*letters) {
		case 'R':
			cie->encoding = (uint8_t)read_fixed(cursor, 1);
			break;
		case 'L':
			skip(cursor, 1);
			break;
		case 'P':
			encoding = (uint8_t)read_fixed(cursor, 1);
			read_format(cursor, encoding);
			break;
		case 'S':
			cie->is_signal = true;
			break;
		default: /* its data is unknown, but where it ends is not */
			goto out;
		}
	}
out:
	if (cursor->bad)
		return false;
	cursor->at = end;
	return true;
}

static bool parse_cie(uintptr_t address, const struct dl_find_object *object, struct cie *cie)
{
	struct cursor cursor = entry_at(address, object);
	uint64_t id = read_fixed(&cursor, 4), version = read_fixed(&cursor, 1);
	const char *letters = (const char *)cursor.at;

	*cie = (struct cie){ .encoding = PE_ABSPTR };
	skip(&cursor, strnlen(letters, (size_t)(cursor.end - cursor.at)) + 1);
	if (cursor.bad || id != 0 || (version != 1 && version != 3))
		return false;
	cie->code_align = read_uleb(&cursor);
	cie->data_align = read_sleb(&cursor);
	if ((version == 1 ? read_fixed(&cursor, 1) : read_uleb(&cursor)) != REG_RA)
		return false;
	cie->has_augmentation = *letters == 'z';
	if (cie->has_augmentation ? !parse_augmentation(&cursor, letters + 1, cie) : *letters != 0)
		return false;
	cie->program = cursor;
	return !cursor.bad;
}

static void set_place(struct row *row, uint64_t reg, enum place place, int64_t offset)
{
	if (reg == REG_BP) {
		row->bp_place = place;
		row->bp = offset;
	} else if (reg == REG_RA) {
		row->ra_place = place;
		row->ra = offset;
	}
}

static void restore(struct run *run, uint64_t reg)
{
	if (reg == REG_BP)
		set_place(&run->row, reg, run->first.bp_place, run->first.bp);
	else if (reg == REG_RA)
		set_place(&run->row, reg, run->first.ra_place, run->first.ra);
}

static void set_cfa_register(struct row *row, uint64_t reg)
{
	row->cfa_reg = reg;
	row->cfa_kind = reg == REG_SP ? UNWIND_SP : reg == REG_BP ? UNWIND_BP : UNWIND_HARD;
}

/* "register + offset", or what stands there. False: something else. */
static bool parse_expression(struct cursor *cursor, uint64_t *reg, int64_t *offset, bool *deref)
{
	uint64_t size = read_uleb(cursor), op;
	struct cursor block = { .at = cursor->at };

	skip(cursor, size);
	if (cursor->bad)
		return false;
	block.end = cursor->at;
	op = read_fixed(&block, 1);
	*reg = op - OP_BREG0;
	*offset = read_sleb(&block);
	*deref = !at_end(&block) && read_fixed(&block, 1) == OP_DEREF;
	return op >= OP_BREG0 && op <= OP_BREG31 && !block.bad && at_end(&block);
}

static void cfa_expression(struct row *row, struct cursor *cursor)
{
	uint64_t reg;
	bool deref;

	if (!parse_expression(cursor, &reg, &row->cfa, &deref)) {
		row->cfa_kind = UNWIND_HARD;
		return;
	}
	set_cfa_register(row, reg);
	if (deref)
		row->cfa_kind = reg == REG_BP ? UNWIND_BP_AT : UNWIND_HARD;
}

static void register_expression(struct row *row, struct cursor *cursor)
{
	uint64_t reg = read_uleb(cursor), base;
	int64_t offset = 0;
	bool deref;
	bool known = parse_expression(cursor, &base, &offset, &deref) && base == REG_BP && !deref;

	set_place(row, reg, known ? PLACE_BP : PLACE_HARD, offset);
}

static void remember(struct run *run, struct cursor *cursor)
{
	if (run->nr_kept == KEPT_MAX)
		fail(cursor);
	else
		run->kept[run->nr_kept++] = run->row;
}

static void recall(struct run *run, struct cursor *cursor)
{
	if (!run->nr_kept)
		fail(cursor);
	else
		run->row = run->kept[--run->nr_kept];
}

/* Instructions that say where a register is. False: it is none of these. */
static bool run_register(struct run *run, struct cursor *cursor, uint8_t op)
{
	int64_t align = run->cie->data_align;
	uint64_t reg;

	switch (op) {
	case CFA_OFFSET_EXTENDED:
		reg = read_uleb(cursor);
		set_place(&run->row, reg, PLACE_CFA, (int64_t)read_uleb(cursor) * align);
		return true;
	case CFA_OFFSET_EXTENDED_SF:
		reg = read_uleb(cursor);
		set_place(&run->row, reg, PLACE_CFA, read_sleb(cursor) * align);
		return true;
	case CFA_RESTORE_EXTENDED:
		restore(run, read_uleb(cursor));
		return true;
	case CFA_UNDEFINED:
		set_place(&run->row, read_uleb(cursor), PLACE_NONE, 0);
		return true;
	case CFA_SAME_VALUE:
		set_place(&run->row, read_uleb(cursor), PLACE_SAME, 0);
		return true;
	case CFA_REGISTER:
	case CFA_VAL_OFFSET:
	case CFA_VAL_OFFSET_SF:
		set_place(&run->row, read_uleb(cursor), PLACE_HARD, 0);
		read_uleb(cursor);
		return true;
	case CFA_VAL_EXPRESSION:
		set_place(&run->row, read_uleb(cursor), PLACE_HARD, 0);
		skip(cursor, read_uleb(cursor));
		return true;
	case CFA_EXPRESSION:
		register_expression(&run->row, cursor);
		return true;
	}
	return false;
}

/* Instructions that say where the CFA is. False: it is none of these. */
static bool run_cfa(struct run *run, struct cursor *cursor, uint8_t op)
{
	struct row *row = &run->row;

	switch (op) {
	case CFA_DEF_CFA:
		set_cfa_register(row, read_uleb(cursor));
		row->cfa = (int64_t)read_uleb(cursor);
		return true;
	case CFA_DEF_CFA_SF:
		set_cfa_register(row, read_uleb(cursor));
		row->cfa = read_sleb(cursor) * run->cie->data_align;
		return true;
	case CFA_DEF_CFA_REGISTER:
		set_cfa_register(row, read_uleb(cursor));
		return true;
	case CFA_DEF_CFA_OFFSET:
		row->cfa = (int64_t)read_uleb(cursor);
		return true;
	case CFA_DEF_CFA_OFFSET_SF:
		row->cfa = read_sleb(cursor) * run->cie->data_align;
		return true;
	case CFA_DEF_CFA_EXPRESSION:
		cfa_expression(row, cursor);
		return true;
	}
	return false;
}

/* The next instruction. False: the row at hand is the target's. */
static bool run_one(struct run *run, struct cursor *cursor)
{
	uint8_t op = (uint8_t)read_fixed(cursor, 1), operand = op & CFA_OPERAND;
	uint64_t steps = 0;

	switch (op & ~CFA_OPERAND) {
	case CFA_ADVANCE_LOC:
		steps = operand;
		break;
	case CFA_OFFSET:
		set_place(&run->row, operand, PLACE_CFA,
			  (int64_t)read_uleb(cursor) * run->cie->data_align);
		return true;
	case CFA_RESTORE:
		restore(run, operand);
		return true;
	default:
		switch (op) {
		case CFA_NOP:
			return true;
		case CFA_SET_LOC:
			run->loc = read_pointer(cursor, run->cie->encoding);
			return run->loc <= run->target;
		case CFA_ADVANCE_LOC1:
			steps = read_fixed(cursor, 1);
			break;
		case CFA_ADVANCE_LOC2:
			steps = read_fixed(cursor, 2);
			break;
		case CFA_ADVANCE_LOC4:
			steps = read_fixed(cursor, 4);
			break;
		case CFA_REMEMBER_STATE:
			remember(run, cursor);
			return true;
		case CFA_RESTORE_STATE:
			recall(run, cursor);
			return true;
		case CFA_GNU_ARGS_SIZE:
			read_uleb(cursor);
			return true;
		default:
			if (!run_register(run, cursor, op) && !run_cfa(run, cursor, op))
				fail(cursor);
			return true;
		}
	}
	run->loc += steps * run->cie->code_align;
	return run->loc <= run->target;
}

/* False: there is an instruction that makes no sense. */
static bool run_program(struct run *run, struct cursor program)
{
	while (!at_end(&program))
		if (!run_one(run, &program))
			break;
	return !program.bad;
}

static void to_rule(const struct row *row, struct unwind_rule *rule)
{
	rule->kind = (uint8_t)row->cfa_kind;
	rule->bp_kind = row->bp_place == PLACE_CFA ? UNWIND_BP_CFA :
			row->bp_place == PLACE_BP  ? UNWIND_BP_BP :
						     UNWIND_BP_SAME;
	rule->cfa = (int32_t)row->cfa;
	rule->bp = (int32_t)row->bp;
	if (row->ra_place == PLACE_NONE)
		rule->kind = UNWIND_END;
	else if (row->ra_place != PLACE_CFA || row->ra != -WORD || row->bp_place == PLACE_HARD ||
		 rule->cfa != row->cfa || rule->bp != row->bp)
		rule->kind = UNWIND_HARD;
}

/* False: no table has it. */
static bool find(uintptr_t ip, const struct dl_find_object *object, struct unwind_rule *rule)
{
	uintptr_t address = find_fde(ip, object), start, id_at;
	struct cursor fde = entry_at(address, object);
	struct run run = { .target = ip };
	struct cie cie;
	uint64_t id;

	id_at = (uintptr_t)fde.at;
	id = read_fixed(&fde, 4);
	if (fde.bad || !id || !parse_cie(id_at - id, object, &cie))
		return false;
	start = read_pointer(&fde, cie.encoding);
	/* a length is not relative to anything */
	if (fde.bad || ip - start >= read_format(&fde, cie.encoding))
		return false;
	if (cie.has_augmentation)
		skip(&fde, read_uleb(&fde));
	if (cie.is_signal) {
		rule->kind = UNWIND_SIGNAL;
		return !fde.bad;
	}
	run.cie = &cie;
	run.loc = start;
	rule->kind = UNWIND_HARD;
	if (!run_program(&run, cie.program))
		return true;
	run.first = run.row;
	if (run_program(&run, fde))
		to_rule(&run.row, rule);
	return true;
}

/* Of the C library; older ones have none. */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

void cfi_find_rule(uintptr_t ip, struct unwind_rule *rule)
{
	struct dl_find_object object;

	*rule = (struct unwind_rule){ .kind = UNWIND_UNKNOWN };
	if (!_dl_find_object || _dl_find_object((void *)ip, &object) != 0)
		return;
	if (!find(ip, &object, rule))
		rule->kind = UNWIND_UNKNOWN;
}
