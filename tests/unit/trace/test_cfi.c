/* SPDX-License-Identifier: MIT */
/*
 * test_cfi.c - rules from .eh_frame, compared with what elfutils' libdw says of the same instructions.
 *
 * All functions of all modules of this process are looked at, at each of their first bytes and at every few of the rest.
 */
#include "unit.h"

#include "trace/cfi.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <link.h>

#define EACH_UP_TO 64 /* bytes of a function of which each is looked at */
#define STEP 13
#define REG_BP 6
#define REG_SP 7
#define REG_RA 16

/* What libdw says, in the words of cfi.h. */
struct expected {
	struct unwind_rule rule;
	bool hard; /* it is none that cfi.h has */
};

static unsigned long looked_at, hard, plain, by_bp, at_bp, ends, signals;

/* "CFA + offset": where a register stands. */
static bool is_cfa_offset(const Dwarf_Op *ops, size_t count, int64_t *offset)
{
	if (!count || ops[0].atom != DW_OP_call_frame_cfa || count > 2)
		return false;
	*offset = count == 2 ? (int64_t)ops[1].number : 0;
	return count == 1 || ops[1].atom == DW_OP_plus_uconst;
}

/* libdw puts the CFA onto the stack of each expression. */
static bool is_bp_offset(const Dwarf_Op *ops, size_t count, int64_t *offset)
{
	if (count != 2 || ops[0].atom != DW_OP_call_frame_cfa || ops[1].atom != DW_OP_breg6)
		return false;
	*offset = (int64_t)ops[1].number;
	return true;
}

/* False: libdw can't tell. */
static bool expect_cfa(Dwarf_Frame *frame, struct expected *expected)
{
	Dwarf_Op *ops;
	size_t count;

	if (dwarf_frame_cfa(frame, &ops, &count) != 0)
		return false;
	if (count == 1 && ops[0].atom == DW_OP_bregx && ops[0].number == REG_SP) {
		expected->rule.kind = UNWIND_SP;
		expected->rule.cfa = (int32_t)ops[0].number2;
	} else if (count == 1 && ops[0].atom == DW_OP_bregx && ops[0].number == REG_BP) {
		expected->rule.kind = UNWIND_BP;
		expected->rule.cfa = (int32_t)ops[0].number2;
	} else if (count == 2 && ops[0].atom == DW_OP_breg6 && ops[1].atom == DW_OP_deref) {
		expected->rule.kind = UNWIND_BP_AT;
		expected->rule.cfa = (int32_t)ops[0].number;
	} else if (count == 1 && (ops[0].atom == DW_OP_breg6 || ops[0].atom == DW_OP_breg7)) {
		expected->rule.kind = ops[0].atom == DW_OP_breg6 ? UNWIND_BP : UNWIND_SP;
		expected->rule.cfa = (int32_t)ops[0].number;
	} else {
		expected->hard = true;
	}
	return true;
}

static void expect_registers(Dwarf_Frame *frame, struct expected *expected)
{
	Dwarf_Op memory[3], *ops;
	int64_t offset = 0;
	size_t count;

	CHECK_EQ(dwarf_frame_register(frame, REG_RA, memory, &ops, &count), 0);
	if (!count && ops == memory)
		expected->rule.kind = UNWIND_END;
	else if (!is_cfa_offset(ops, count, &offset) || offset != -8)
		expected->hard = true;
	CHECK_EQ(dwarf_frame_register(frame, REG_BP, memory, &ops, &count), 0);
	if (!count)
		return;
	if (is_cfa_offset(ops, count, &offset))
		expected->rule.bp_kind = UNWIND_BP_CFA;
	else if (is_bp_offset(ops, count, &offset))
		expected->rule.bp_kind = UNWIND_BP_BP;
	else
		expected->hard = true;
	expected->rule.bp = (int32_t)offset;
}

static void check_kind(const struct unwind_rule *rule)
{
	looked_at++;
	hard += rule->kind == UNWIND_HARD;
	plain += rule->kind == UNWIND_SP;
	by_bp += rule->kind == UNWIND_BP;
	at_bp += rule->kind == UNWIND_BP_AT;
	ends += rule->kind == UNWIND_END;
	signals += rule->kind == UNWIND_SIGNAL;
}

static void check_address(Dwarf_CFI *cfi, Dwarf_Addr address, uintptr_t bias)
{
	struct expected expected = { .rule.kind = UNWIND_HARD };
	struct unwind_rule rule;
	Dwarf_Frame *frame;
	bool is_signal, known;

	if (dwarf_cfi_addrframe(cfi, address, &frame) != 0)
		return;
	dwarf_frame_info(frame, NULL, NULL, &is_signal);
	known = expect_cfa(frame, &expected);
	if (known && !expected.hard)
		expect_registers(frame, &expected);
	free(frame);
	if (!known)
		return;
	cfi_find_rule(address + bias, &rule);
	check_kind(&rule);
	if (is_signal) {
		CHECK_EQ(rule.kind, UNWIND_SIGNAL);
		return;
	}
	if (expected.hard && expected.rule.kind != UNWIND_END) {
		CHECK_EQ(rule.kind, UNWIND_HARD);
		return;
	}
	CHECK_EQ(rule.kind, expected.rule.kind);
	if (rule.kind == UNWIND_END)
		return;
	CHECK_EQ(rule.cfa, expected.rule.cfa);
	CHECK_EQ(rule.bp_kind, expected.rule.bp_kind);
	CHECK_EQ(rule.bp, expected.rule.bp);
}

static void check_function(Dwarf_CFI *cfi, Dwarf_Addr start, Dwarf_Addr end, uintptr_t bias)
{
	for (Dwarf_Addr at = start; at < end; at += at - start < EACH_UP_TO ? 1 : STEP)
		check_address(cfi, at, bias);
}

/* The functions of a module, by the search table that its FDEs are found with. */
static void check_module(const char *path, const struct dl_phdr_info *info)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ_MMAP, NULL);
	Dwarf_CFI *cfi = elf ? dwarf_getcfi_elf(elf) : NULL;
	const uint8_t *header = NULL;
	uint32_t count;

	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
			header = (const uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	if (!cfi || !header)
		return;
	memcpy(&count, header + 8, sizeof(count));
	for (uint32_t i = 0; i + 1 < count; i++) {
		int32_t start, next;

		memcpy(&start, header + 12 + 8 * (size_t)i, sizeof(start));
		memcpy(&next, header + 20 + 8 * (size_t)i, sizeof(next));
		check_function(cfi, (Dwarf_Addr)((intptr_t)header + start) - info->dlpi_addr,
			       (Dwarf_Addr)((intptr_t)header + next) - info->dlpi_addr,
			       info->dlpi_addr);
	}
	dwarf_cfi_end(cfi);
	elf_end(elf);
	close(fd);
}

static int visit(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size, (void)unused;
	check_module(*info->dlpi_name ? info->dlpi_name : "/proc/self/exe", info);
	return 0;
}

/* Its stack pointer is rounded down by more than is known before: the caller's is kept in the frame. */
static __attribute__((noinline)) void realigned(size_t size)
{
	_Alignas(128) char buf[256];
	char *variable = __builtin_alloca(size);

	__asm__ volatile("" : : "r"(buf), "r"(variable) : "memory");
	CHECK_EQ((uintptr_t)buf % 128, 0);
}

static void every_rule_is_what_libdw_says(void)
{
	realigned(looked_at + 100);
	elf_version(EV_CURRENT);
	/* C++: tables with language-specific data */
	dlopen("libstdc++.so.6", RTLD_NOW);
	if (getenv("CFI_LIBRARY"))
		CHECK(dlopen(getenv("CFI_LIBRARY"), RTLD_LAZY));
	dl_iterate_phdr(visit, NULL);
	printf("%lu addresses: rsp %lu, rbp %lu, at rbp %lu, ends %lu, signal %lu, hard %lu\n",
	       looked_at, plain, by_bp, at_bp, ends, signals, hard);
	CHECK(looked_at > 100000);
	CHECK(plain && by_bp && at_bp && ends && signals && hard);
	/* lazy binding and procedure linkage tables */
	CHECK(hard < looked_at / 20);
}

static void an_address_without_a_table_is_unknown(void)
{
	struct unwind_rule rule;
	uint64_t object;

	cfi_find_rule((uintptr_t)&object, &rule);
	CHECK_EQ(rule.kind, UNWIND_UNKNOWN);
	cfi_find_rule(0, &rule);
	CHECK_EQ(rule.kind, UNWIND_UNKNOWN);
	cfi_find_rule(UINTPTR_MAX, &rule);
	CHECK_EQ(rule.kind, UNWIND_UNKNOWN);
}

int main(void)
{
	static const struct unit_case cases[] = {
		UNIT_TEST_RAW(every_rule_is_what_libdw_says),
		UNIT_TEST_RAW(an_address_without_a_table_is_unknown),
	};

	return UNIT_MAIN(cases);
}
