/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of calls share. */
#ifndef LODGE_DAEMON_CALLS_H
#define LODGE_DAEMON_CALLS_H

#include "daemon/guest.h"
#include "daemon/kept.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

/* The guest that @dom names, by its uuid; NULL: the call has been failed. */
struct guest *call_guest(struct rpc_call *call, const struct rpc_domain *dom);
/* @guest as clients are told of it; its name is the answer's. */
struct rpc_domain call_domain(struct rpc_call *call, const struct guest *guest);
/* As whom the client has files opened, until the call is answered; NULL: with lodged's own
 * authority, as root and lodged's user have them (guest.h). */
const struct launch_authority *call_authority(struct rpc_call *call);
/* Starts the guest, with the descriptors that came with the call; @flags are some of those. */
#define CALL_START_FLAGS                                                                          \
	(VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_BYPASS_CACHE | \
	 VIR_DOMAIN_START_FORCE_BOOT)
bool call_start_guest(struct rpc_call *call, struct guest *guest, u32 flags, guest_done *done,
		      GError **error);
void call_start(struct rpc_call *call, const struct rpc_domain *dom, u32 flags, guest_done *done);
/* The same for a transient one; answers with the domain. */
void call_create(struct rpc_call *call, const char *xml, u32 flags);
/* False, and the call has been failed, when its VALIDATE flag is @wanted and @xml, whose outermost
 * element is @root, has something that is not known (domain/schema.h). */
bool call_validate(struct rpc_call *call, bool wanted, const char *xml, const char *root);
/* A string of the answer; frees @text. */
char *call_text(struct rpc_call *call, char *text);
/* False, and the call has been failed, when @flags has others than @known. */
bool call_flags(struct rpc_call *call, u32 flags, u32 known);

/*
 * Which of a guest's two domains @flags mean (VIR_DOMAIN_AFFECT_*): the live one, its definition or
 * both; with neither flag the live one if there is one. False: the call has been failed, as one of
 * them is not there.
 */
bool call_affects(struct rpc_call *call, const struct guest *guest, u32 flags, bool *live,
		  bool *config);

/* Does a list with these flags, VIR_CONNECT_LIST_DOMAINS_*, have @guest? Others are ignored. */
bool call_filter(const struct guest *guest, u32 flags);
/* The guests that it has, by name; the caller unrefs the array. */
GPtrArray *call_matching(const struct daemon *daemon, u32 flags);

/* Answers a call that returns nothing, when what it asked for is done: a guest_done, whose opaque
 * pointer is the call. */
void call_done(struct guest *guest, const GError *error, void *call);
/* The same for a call that returns the domain. */
void call_done_domain(struct guest *guest, const GError *error, void *call);

/* A kept_done for calls that return nothing, whose opaque pointer is the call. */
void call_kept_done(struct kept *kept, const GError *error, void *call);
/* For the lists of kept objects; both unref @found: how many there are, and the names of at most
 * @max of them, in the call's arena, with their number. */
u32 call_count(GPtrArray *found);
char **call_names(struct rpc_call *call, GPtrArray *found, s32 max, u32 *n);

#endif
