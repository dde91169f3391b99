/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI-3 persistent reservations on one path of one LUN: what clusterd and the
 * `scsi3pr` tool call.  A device is one I_T nexus: a path device (/dev/sdX, through
 * SG_IO) or an iscsi:// URL (through libiscsi).  Device-mapper devices are refused, since
 * the kernel's PR calls on them lose the ABORT of PREEMPT AND ABORT.
 *
 * Every call blocks up to the device's command time-out times a small number of
 * retries: workers only.  One thread at a time owns a device.
 *
 * Returns: 0 or
 *   -EBADE       RESERVATION CONFLICT (this nexus is not registered, or another key)
 *   -ETIMEDOUT   UNKNOWN: no answer; the command may have been carried out, or may yet be
 *   -EOPNOTSUPP  the target refuses the command or a bit of it
 *   -ENODEV      the path is gone and the command was never sent
 *   -EBUSY       the target was busy or not ready, after retries
 *   -EBADMSG     the target answered nonsense
 *   -EMSGSIZE    more keys than SCSI3PR_KEYS_MAX
 *   -EIO         anything else, definitely not carried out
 * scsi3pr_outcome() maps these to DONE, FAILED, UNKNOWN; scsi3pr_error() has one line of text.
 *
 * Unit attentions are consumed and the command sent again (SPC-4 5.14: a command ended by a
 * unit attention was not carried out); scsi3pr_attentions() says what was seen.
 */
#ifndef SCSI3PR_SCSI3PR_H
#define SCSI3PR_SCSI3PR_H

#include "common/cl_types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCSI3PR_TEXT_MAX    256u
#define SCSI3PR_KEYS_MAX    1024u /* keys that one READ KEYS may return to us */
#define SCSI3PR_NEXUSES_MAX 128u
#define SCSI3PR_LUN_ID_MAX  96u /* bytes with the NUL */
#define SCSI3PR_LUN_PATHS   8u
#define SCSI3PR_PATH_MAX    256u
#define SCSI3PR_TIMEOUT_MS  60000u /* a PERSISTENT RESERVE OUT may take long; see A17 of docs */

struct scsi3pr_dev;

/* Reservation types, SPC-4 table 183; only the last two keep a LUN reserved while any member is
 * left. */
enum scsi3pr_type {
	SCSI3PR_WRITE_EXCLUSIVE = 1,
	SCSI3PR_EXCLUSIVE_ACCESS = 3,
	SCSI3PR_WRITE_EXCLUSIVE_RO = 5,
	SCSI3PR_EXCLUSIVE_ACCESS_RO = 6,
	SCSI3PR_WRITE_EXCLUSIVE_AR = 7,
	SCSI3PR_EXCLUSIVE_ACCESS_AR = 8,
};

/* "exclusive-access-all-registrants", ...; "unknown" otherwise. */
const char *scsi3pr_type_name(unsigned type);

/*
 * Opens "/dev/sdX" or "iscsi://ADDRESS[:PORT]/IQN/LUN" (a query ?initiator=IQN&isid=HEX12 names the
 * initiator and pins the nexus).  timeout_ms 0: SCSI3PR_TIMEOUT_MS.  error (SCSI3PR_TEXT_MAX bytes,
 * may be NULL) gets one line.  -EOPNOTSUPP for a device-mapper device or a partition.
 */
int scsi3pr_open(const char *name, unsigned timeout_ms, struct scsi3pr_dev **ret_dev, char *error);
void scsi3pr_close(struct scsi3pr_dev *dev);
/* For the commands from now on; the 1 s poll wants a shorter one than a fence. */
void scsi3pr_timeout_set(struct scsi3pr_dev *dev, unsigned timeout_ms);
const char *scsi3pr_name(const struct scsi3pr_dev *dev);
/* One line about the last call that failed; "" if none did.  Lives until the next call. */
const char *scsi3pr_error(const struct scsi3pr_dev *dev);
enum cl_outcome scsi3pr_outcome(int ret);

/* Unit attentions consumed since the last call of this, as bits; reading clears them. */
#define SCSI3PR_UA_RESET                                                                           \
	(1u << 0) /* 29/xx: power on, reset, I_T nexus loss: check the nexus again */
#define SCSI3PR_UA_PREEMPTED (1u << 1) /* 2A/03 2A/05: reservations or registrations preempted */
#define SCSI3PR_UA_RELEASED  (1u << 2) /* 2A/04: reservations released */
#define SCSI3PR_UA_OTHER     (1u << 3)
unsigned scsi3pr_attentions(struct scsi3pr_dev *dev);

struct scsi3pr_keys {
	uint32_t generation; /* PRgeneration */
	unsigned n;
	uint64_t key[SCSI3PR_KEYS_MAX]; /* one per registered nexus: a key may be there several
					   times */
};

struct scsi3pr_reservation {
	uint32_t generation;
	bool held;
	uint64_t key; /* 0 for the all-registrants types */
	uint8_t scope;
	uint8_t type; /* enum scsi3pr_type */
};

struct scsi3pr_capabilities {
	bool persist_capable;		 /* PTPL_C */
	bool persist_active;		 /* PTPL_A */
	bool all_ports_capable;		 /* ATP_C */
	bool specify_initiators_capable; /* SIP_C */
	bool compatible_handling;	 /* CRH */
	bool types_valid;		 /* TMV */
	uint16_t types;			 /* bit n = type n is supported */
	uint8_t allow_commands;
};

struct scsi3pr_nexus {
	uint64_t key;
	bool holder;
	bool all_ports;
	uint8_t scope, type;
	uint16_t target_port;		  /* relative target port id */
	char initiator[SCSI3PR_TEXT_MAX]; /* printable transport id: "iqn...,i,0x..." or "naa..." */
};

struct scsi3pr_full_status {
	uint32_t generation;
	unsigned n;
	bool truncated;
	struct scsi3pr_nexus nexus[SCSI3PR_NEXUSES_MAX];
};

int scsi3pr_keys_read(struct scsi3pr_dev *dev, struct scsi3pr_keys *ret_keys);
bool scsi3pr_keys_have(const struct scsi3pr_keys *keys, uint64_t key);
int scsi3pr_reservation_read(struct scsi3pr_dev *dev, struct scsi3pr_reservation *ret_reservation);
int scsi3pr_capabilities_read(struct scsi3pr_dev *dev, struct scsi3pr_capabilities *ret_caps);
int scsi3pr_full_status_read(struct scsi3pr_dev *dev, struct scsi3pr_full_status *ret_status);

/*
 * REGISTER AND IGNORE EXISTING KEY of key (not 0) for this nexus, then verifies with READ KEYS.
 * Part of the admission of an incarnation and of nothing else: never a reaction to a conflict.
 * aptpl false only where the target cannot persist: -EOPNOTSUPP says so.
 */
int scsi3pr_register(struct scsi3pr_dev *dev, uint64_t key, bool aptpl);
/* REGISTER with the key that must be registered already; new_key 0 unregisters. */
int scsi3pr_register_exact(struct scsi3pr_dev *dev, uint64_t key, uint64_t new_key, bool aptpl);
/* The LUN keeps its registrations over a power loss, if it did before. */
int scsi3pr_unregister(struct scsi3pr_dev *dev, uint64_t key);
/*
 * Reserves with type, 8 if that is 0: under 7 a fenced node still reads, and scsi3pr_check() could
 * not tell it from others.  A reservation of that type that is there already is as good as one of
 * our own making. -EBADE if the LUN is reserved with another type.  Verified with READ RESERVATION;
 * ret_type may be NULL.
 */
int scsi3pr_reserve(struct scsi3pr_dev *dev, uint64_t key, unsigned type, unsigned *ret_type);
int scsi3pr_release(struct scsi3pr_dev *dev, uint64_t key, unsigned type);
/* Raw PREEMPT (AND ABORT), for the tool and the contract tests; fencing is scsi3pr_fence(). */
int scsi3pr_preempt(struct scsi3pr_dev *dev, uint64_t key, uint64_t victim_key, unsigned type,
		    bool abort_tasks);
/* Admin recovery only: removes every registration and the reservation (SPC-4 5.13.11.2.7). */
int scsi3pr_clear(struct scsi3pr_dev *dev, uint64_t key);

enum scsi3pr_proof {
	SCSI3PR_FENCED = 0, /* sufficient: our own P&A and LUN reset, for a key that was present */
	SCSI3PR_KEY_ABSENT = 1, /* not proof: the key was not there when we looked */
	SCSI3PR_UNKNOWN =
		2, /* not proof: no answer, or the state afterwards could not be verified */
	SCSI3PR_FAILED = 3,  /* not proof: refused, or we are ourselves fenced */
	SCSI3PR_DRAINED = 4, /* of scsi3pr_drain() only */
};
const char *scsi3pr_proof_name(enum scsi3pr_proof proof);

struct scsi3pr_fence {
	enum scsi3pr_proof proof;
	int error; /* 0 or the -errno behind UNKNOWN and FAILED; -EBADE: our own key or the
		      reservation is lost */
	uint32_t generation; /* PRgeneration after it */
	char text[SCSI3PR_TEXT_MAX];
};

/*
 * Fences victim_key: own key and an all-registrants reservation verified, victim's key seen,
 * PREEMPT AND ABORT answered GOOD, LOGICAL UNIT RESET done (it ends commands under way where the
 * target's abort does not; other nodes' kernels send theirs again), victim's key verified gone, own
 * key and the reservation verified still there.  Only proof FENCED permits a takeover.  Repeat
 * UNKNOWN until another proof is found; a later KEY_ABSENT does not turn an earlier UNKNOWN into
 * proof.
 */
void scsi3pr_fence(struct scsi3pr_dev *dev, uint64_t own_key, uint64_t victim_key,
		   struct scsi3pr_fence *ret_fence);

/*
 * For a victim whose key is absent (its proof was lost with the node that fenced it, or the target
 * purged it): own key and an all-registrants reservation verified, the key verified absent, LOGICAL
 * UNIT RESET done, all verified again.  DRAINED: commands of the victim that were under way have
 * ended, and new ones conflict as long as no other key of that node is registered.  Whether that
 * permits a takeover is the caller's policy; -EEXIST in error where the key is registered after
 * all.
 */
void scsi3pr_drain(struct scsi3pr_dev *dev, uint64_t own_key, uint64_t absent_key,
		   struct scsi3pr_fence *ret_fence);

enum scsi3pr_health {
	SCSI3PR_HEALTHY = 0,
	SCSI3PR_LOST_KEY = 1,	      /* own key is gone: fenced. Stop direct I/O at once */
	SCSI3PR_LOST_RESERVATION = 2, /* none, or of another type. Stop direct I/O at once */
	SCSI3PR_LOST_NEXUS = 3,	      /* the key is there but not for this nexus (new session) */
	SCSI3PR_NO_ANSWER = 4,	      /* path down or no reply; says nothing of the reservation */
};
const char *scsi3pr_health_name(enum scsi3pr_health health);

struct scsi3pr_check {
	enum scsi3pr_health health;
	uint32_t generation; /* PRgeneration: changed = somebody registered or preempted */
	unsigned type;
	unsigned attentions; /* SCSI3PR_UA_* consumed meanwhile */
	char text[SCSI3PR_TEXT_MAX];
};

/* The 1 s poll: own key, the reservation and its type, and one block read on this nexus. */
void scsi3pr_check(struct scsi3pr_dev *dev, uint64_t own_key, struct scsi3pr_check *ret_check);

struct scsi3pr_lun {
	char id[SCSI3PR_LUN_ID_MAX]; /* naa.… eui.… t10.… (docs/architecture.md); "" if it has none
				      */
	char vendor[9], product[17];
	uint64_t size_bytes;
	uint32_t block_bytes;
	unsigned n_paths;
	char path[SCSI3PR_LUN_PATHS][SCSI3PR_PATH_MAX]; /* "/dev/sda" */
};

/*
 * INQUIRY, VPD 0x83 and READ CAPACITY of an open device; its path[0] is the device's name. The
 * size is 0 where a reservation of others hides it.
 */
int scsi3pr_identify(struct scsi3pr_dev *dev, struct scsi3pr_lun *ret_lun);

/*
 * Every SCSI disk of this node (Linux), paths of one LUN joined by id; those without an id are
 * listed apart.  -ENOSPC after filling cap entries; any other error: not all of them are known.
 */
int scsi3pr_luns_list(struct scsi3pr_lun *ret_luns, size_t cap, size_t *ret_n);
/* The LUN with that id (letter case ignored), or -ENODEV; any other error: it could not be looked for. */
int scsi3pr_lun_find(const char *id, struct scsi3pr_lun *ret_lun);

#endif
