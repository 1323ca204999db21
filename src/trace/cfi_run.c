/* SPDX-License-Identifier: MIT */
/*
 * cfi_run.c - call frame instructions: the table that they stand for, up to the row of one address, and the rule that this row is.
 * DWARF 5, section 6.4.
 *
 * The kernel's counterpart is update_cfi_state() of tools/objtool/check.c, which follows the program's own instructions instead.
 *
 * Followed are rules by rsp and rbp, which is what compilers write at a call. Not followed: rules by other registers
 * (the dynamic linker's lazy binding), and expressions other than "rbp + n" and "what stands at rbp + n" (a
 * procedure linkage table, which is never on a stack). No state, no locks.
 */
#include "trace/cfi_internal.h"

#define REG_BP 6
#define REG_SP 7
#define WORD ((int64_t)sizeof(uintptr_t))
#define KEPT_MAX 8 /* rows on the stack of DW_CFA_remember_state */

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

/* The state of the instructions' run. */
struct run {
	const struct cie *cie;
	uintptr_t loc, target;
	struct row row, first, kept[KEPT_MAX];
	unsigned nr_kept;
};

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
			run->loc = cfi_read_pointer(cursor, run->cie->encoding);
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

void cfi_run(const struct cie *cie, struct cursor program, uintptr_t start, uintptr_t ip,
	     struct unwind_rule *rule)
{
	struct run run = { .cie = cie, .loc = start, .target = ip };

	rule->kind = UNWIND_HARD;
	if (!run_program(&run, cie->program))
		return;
	run.first = run.row;
	if (run_program(&run, program))
		to_rule(&run.row, rule);
}
