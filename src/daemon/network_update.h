/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of one part of a network's definition, as virsh net-update asks for them. */
#ifndef LODGE_DAEMON_NETWORK_UPDATE_H
#define LODGE_DAEMON_NETWORK_UPDATE_H

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

/*
 * Does @command (VIR_NETWORK_UPDATE_COMMAND_*) with the part @xml of the section @section
 * (VIR_NETWORK_SECTION_*) in @doc. @parent counts the <ip> elements whose <dhcp> is meant; -1: the
 * one that has one, or the first. False with @error set: @doc may have changed.
 */
bool network_update(xmlDoc *doc, unsigned command, unsigned section, int parent, const char *xml,
		    GError **error);

#endif
