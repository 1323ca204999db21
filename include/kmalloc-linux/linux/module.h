/* SPDX-License-Identifier: MIT */
/*
 * linux/module.h - what a source file says about itself as a module. module_init() and
 * module_exit() are left to the program: it calls these functions itself.
 */
#ifndef KMALLOC_LINUX_MODULE_H
#define KMALLOC_LINUX_MODULE_H

#include <linux/init.h>
#include <linux/kernel.h>

#define EXPORT_SYMBOL(name) struct kmalloc_export_##name
#define EXPORT_SYMBOL_GPL(name) struct kmalloc_export_##name
#define MODULE_LICENSE(text) struct kmalloc_module_license
#define MODULE_AUTHOR(text) struct kmalloc_module_author
#define MODULE_DESCRIPTION(text) struct kmalloc_module_description
#define THIS_MODULE NULL

#endif
