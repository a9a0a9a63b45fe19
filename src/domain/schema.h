/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which elements and attributes libvirt's formats have at which place. Definitions are kept
 * whatever they have beside that; who asks for it (the VALIDATE flags of calls, virsh define
 * --validate) has them refused.
 *
 * It is about names and places: values are checked where they are read, and the order of elements
 * means nothing. Whatever stands in <metadata>, and in elements of other namespaces that are known,
 * is its owner's.
 */
#ifndef LODGE_DOMAIN_SCHEMA_H
#define LODGE_DOMAIN_SCHEMA_H

#include <glib.h>
#include <stdbool.h>

/* @text has a document whose outermost element is @root: domain, network, pool, volume or secret.
 * False with @error set: it is not well-formed, another document, or has something that is not
 * known, which is named with its path and line. */
bool schema_check(const char *text, const char *root, GError **error);

#endif
