"""The lines that defend secret and robust rounds, each with what it becomes when it is taken out and who has to notice.

A line is named by text that occurs once in its file; tests by where they are, without parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

ROUND, PEER, TESTS = "src/folkmoot/round/", "src/folkmoot/peer/", "tests/"
ENVELOPE = "round/test_envelope.py::test_"
SEEDS = "round/test_seeds.py::test_"
MASKS = "round/test_masks.py::test_"
NEW_KEYS = "attacks/test_new_keys.py::test_"
GROUPS = "round/test_groups.py::test_"
ATTACK = "attacks/test_masks_under_attack.py::test_"
ROUNDS = "attacks/test_rounds_under_attack.py::test_"
TOLD = "attacks/test_told_once.py::test_"
DROPOUT = "attacks/test_dropouts.py::test_"
TRANSCRIPT = "attacks/test_transcript.py::test_"
MOOT, ASSEMBLY = "src/folkmoot/ledger/Moot.vy", "src/folkmoot/ledger/Assembly.vy"
HOSTED = "ledger/test_hosted_copy.py::test_"
HOSTED_PEERS = "peer/test_hosted.py::test_"
HOSTED_BY_MEMBERS = "peer/test_hosted_members.py::test_"
MOVES = "peer/test_move_to_hosted.py::test_"
CONTRACT = "ledger/test_contract_rounds.py::test_"
CONNECTIONS = "network/test_node_connections.py::test_"
SANDBOX = "peer/test_sandbox.py::test_"
DATA = "peer/test_data_changes.py::test_"
HOSTILE = SANDBOX + "malicious_code_does_not_get_far"
GRANTS = "ledger/test_contract_grants.py::test_"
ACCOUNTS = "ledger/test_contract_accounts.py::test_"
MOVED = "peer/test_moved_votes_and_bounties.py::test_"
MOVED_LINEAGE = "cli/test_moved_lineage.py::test_"
MOTIONS = "ledger/test_contract_assembly.py::test_"


@dataclass(frozen=True)
class Defence:
    """What stands in ``file``, what it becomes, and the tests that fail then."""

    name: str
    file: str
    line: str
    becomes: str
    noticed_by: tuple[str, ...]


DEFENCES = [
    # ---- who holds how many shares, and what may be known --------------------------------------------------------
    Defence(
        "share threshold of more than two thirds",
        "src/folkmoot/task/policy.py",
        "return 2 * holders // 3 + 1",
        "return holders // 3 + 1",
        (ATTACK + "the_threshold_is_more_than_two_thirds_of_the_holders_and_not_one_more",),
    ),
    Defence(
        "fewest survivors of a sum",
        "src/folkmoot/task/policy.py",
        "return max(FEWEST, share_threshold(size - 1))",
        "return share_threshold(size - 1)",
        (ATTACK + "never_is_a_sum_of_two_unmasked_however_small_the_group",),
    ),
    Defence(
        "quota of a mask group",
        ROUND + "plan.py",
        "if len(row) >= due)",
        "if row)",
        (
            ATTACK + "survivors_below_the_quota_are_told_nothing",
            ATTACK + "never_is_a_sum_of_two_unmasked_however_small_the_group",
            TOLD + "whatever_two_sets_a_ledger_shows_no_survivor_is_laid_open",
        ),
    ),
    Defence(
        "a false word makes nobody read the ledger",
        PEER + "tribunal.py",
        "if evidence.key == present or",
        "if",
        (ROUNDS + "who_committed_nothing_and_shows_something_makes_nobody_read_the_ledger",),
    ),
    Defence(
        "earlier commits are read once in an attempt",
        PEER + "tribunal.py",
        " or self._read_in == [present]:",
        ":",
        (ROUNDS + "false_accusations_make_a_peer_read_the_ledger_once_in_an_attempt",),
    ),
    Defence(
        "evidence is kept for each accuser",
        PEER + "tribunal.py",
        "pair = (accuser, accusation.member)",
        "pair = (0, accusation.member)",
        (ROUNDS + "members_that_a_liar_showed_different_things_each_get_a_signature_for_their_own_evidence",),
    ),
    Defence(
        "a journalled contribution is not sent for other data",
        PEER + "compute.py",
        "if own is not None and journal.made_from(key) != source:",
        "if False:",
        (DATA + "a_contribution_made_before_a_restart_is_not_sent_for_other_data_than_it_was_made_from",),
    ),
    Defence(
        "an earlier contribution is used again only for the data granted now",
        PEER + "journal.py",
        "AND parent=? AND dataset=? AND line=? ORDER BY",
        "AND parent=? AND (dataset=? OR 1) AND (line=? OR 1) ORDER BY",
        (
            "peer/test_records.py::"
            "test_an_earlier_contribution_is_used_again_only_where_the_grant_names_the_data_it_was_made_from",
        ),
    ),
    Defence(
        "nothing is released of a lost member",
        ROUND + "groups.py",
        "if dealer not in survivors:",
        "if False:",
        (
            ATTACK + "what_a_member_sent_that_was_declared_lost_stays_noise",
            ATTACK + "no_sequence_of_survivor_sets_gets_a_survivors_self_mask_and_its_pair_masks",
            TOLD + "whatever_two_sets_a_ledger_shows_no_survivor_is_laid_open",
            GROUPS + "the_dead_release_nothing_and_the_living_their_own_and_what_they_share_with_the_dead",
            GROUPS + "for_no_member_self_mask_and_pair_masks_are_both_known",
            MASKS + "of_one_who_uploaded_and_did_not_survive_colluders_see_noise",
        ),
    ),
    Defence(
        "no seed between two survivors is released",
        ROUND + "groups.py",
        "return (dealer, *(j for j in neighbours if j not in survivors))",
        "return (dealer, *neighbours)",
        (
            ATTACK + "whoever_listens_sees_noise_whatever_all_members_say_once_survivors_are_fixed",
            ATTACK + "colluders_one_below_the_threshold_see_noise_in_place_of_a_survivor_and_the_sum_is_exact",
            ATTACK + "no_sequence_of_survivor_sets_gets_a_survivors_self_mask_and_its_pair_masks",
            TOLD + "whatever_two_sets_a_ledger_shows_no_survivor_is_laid_open",
            GROUPS + "the_dead_release_nothing_and_the_living_their_own_and_what_they_share_with_the_dead",
            GROUPS + "for_no_member_self_mask_and_pair_masks_are_both_known",
            MASKS + "of_a_survivor_colluders_see_noise_after_the_release_too",
            TRANSCRIPT + "all_keys_of_fewer_than_the_threshold_leave_noise_of_what_the_honest_peer_sent",
            TRANSCRIPT + "whoever_listens_without_a_key_learns_sums_only",
        ),
    ),
    Defence(
        "what is shared with the lost is released",
        ROUND + "groups.py",
        "return (dealer, *(j for j in neighbours if j not in survivors))",
        "return (dealer,)",
        (
            DROPOUT + "one_member_lost_leaves_the_exact_sum_of_the_survivors",
            DROPOUT + "two_members_lost_leave_the_exact_sum_of_the_survivors",
            MASKS + "the_unmasked_sum_is_the_plain_sum_whoever_is_missing",
        ),
    ),
    Defence(
        "everyone is everyone's neighbour",
        ROUND + "groups.py",
        "tuple(m for m in everyone if m != member)",
        "tuple(m for m in everyone if m != member)[:32]",
        (
            GROUPS + "however_large_a_group_is_everyone_is_a_neighbour_of_everyone",
            DROPOUT + "a_liar_in_a_large_group_forces_no_second_sum_and_the_round_goes_on_without_it",
        ),
    ),
    Defence(
        "masks are made with the keys from before",
        PEER + "agreement.py",
        "if since < opened]",
        "]",
        (NEW_KEYS + "the_others_open_the_boxes_of_its_old_keys_and_rebuild_its_seed",),
    ),
    Defence(
        "newer keys have no part in the masks",
        PEER + "context.py",
        "None if self.agreement.is_newer(self.index, opened) else self.identity.mask_secret",
        "self.identity.mask_secret",
        (NEW_KEYS + "with_its_new_keys_it_holds_what_the_others_sent_and_tells_no_seed",),
    ),
    Defence(
        "a group that was frozen with more is not unmasked",
        ROUND + "plan.py",
        "left = first & ~survivors if len(self.groups) > 1 else 0",
        "left = 0",
        (
            GROUPS + "a_group_that_a_second_freeze_took_a_member_from_is_never_unmasked",
            "round/test_faults.py::test_a_group_whose_members_know_different_seeds_at_half_time_is_left_out_whole",
        ),
    ),
    # ---- what masks are made of ------------------------------------------------------------------------------------
    Defence(
        "masks are bound to the parent state",
        ROUND + "seeds.py",
        "blake3(numbers + contract + parent + beacon + bitmap,",
        "blake3(numbers + contract + beacon + bitmap,",
        (
            ATTACK + "a_member_that_is_shown_another_model_than_the_rest_is_not_taken_for_one_of_them",
            ATTACK + "of_a_member_that_is_shown_another_model_the_sum_shows_noise",
            SEEDS + "contexts_that_differ_in_one_field_have_no_secret_in_common",
        ),
    ),
    Defence(
        "masks are bound to the attempt",
        ROUND + "seeds.py",
        "for n in (chain_id, task, round, attempt))",
        "for n in (chain_id, task, round))",
        (
            ATTACK + "the_same_words_sent_in_two_attempts_have_nothing_in_common",
            ATTACK + "seeds_that_were_opened_in_one_attempt_open_nothing_of_the_next",
            ATTACK + "an_envelope_of_another_attempt_is_not_taken",
            ATTACK + "shares_of_another_attempt_are_refused",
            ATTACK + "seeds_of_another_attempt_are_refused",
            MASKS + "the_same_words_sent_in_two_attempts_have_nothing_in_common",
            SEEDS + "contexts_that_differ_in_one_field_have_no_secret_in_common",
        ),
    ),
    Defence(
        "every secret is bound to its context",
        ROUND + "seeds.py",
        'purpose + b" v1" + context + b""',
        'purpose + b" v1" + b""',
        (
            ATTACK + "the_same_words_sent_in_two_attempts_have_nothing_in_common",
            ATTACK + "of_a_member_that_is_shown_another_model_the_sum_shows_noise",
            ENVELOPE + "an_envelope_of_another_attempt_opens_nothing",
            SEEDS + "contexts_that_differ_in_one_field_have_no_secret_in_common",
        ),
    ),
    Defence(
        "every secret has its purpose",
        ROUND + "seeds.py",
        'b"folkmoot 2026 " + purpose + b" v1"',
        'b"folkmoot 2026 " + b" v1"',
        (SEEDS + "no_two_secrets_of_a_group_are_alike",),
    ),
    Defence(
        "every secret is bound to its members",
        ROUND + "seeds.py",
        'context + b"".join(m.to_bytes(2, "big") for m in members)',
        "context",
        (
            SEEDS + "no_two_secrets_of_a_group_are_alike",
            SEEDS + "a_member_that_publishes_anothers_key_shares_no_secret_with_it",
        ),
    ),
    Defence(
        "self masks",
        ROUND + "seeds.py",
        "return [(sign(self.me, target), seed) for target, seed in self.seeds.items()]",
        "return [(sign(self.me, target), seed) for target, seed in self.seeds.items() if target != self.me]",
        (
            ATTACK + "what_a_member_sent_that_was_declared_lost_stays_noise",
            ATTACK + "colluders_one_below_the_threshold_see_noise_in_place_of_a_survivor_and_the_sum_is_exact",
            MASKS + "of_one_who_uploaded_and_did_not_survive_colluders_see_noise",
        ),
    ),
    Defence(
        "side words have keystream of their own",
        ROUND + "masks.py",
        "_SIDE_BLOCK = 1 << 63",
        "_SIDE_BLOCK = 0",
        (MASKS + "side_words_never_meet_the_mask_of_value_words",),
    ),
    Defence(
        "masked words have one size",
        ROUND + "masks.py",
        "if len(data) != -(-count * width // 8):",
        "if False:",
        (MASKS + "packed_words_of_another_size_are_refused",),
    ),
    # ---- envelopes -------------------------------------------------------------------------------------------------
    Defence(
        "an envelope has one size",
        ROUND + "envelope.py",
        "if len(data) != envelope_bytes(len(neighbours)):",
        "if False:",
        (ENVELOPE + "an_envelope_of_another_size_is_refused",),
    ),
    Defence(
        "shares fit their tags",
        ROUND + "envelope.py",
        "return self.data[at : at + _TAG_BYTES] == tag",
        "return True",
        (
            ENVELOPE + "a_wrong_share_is_recognised",
            ENVELOPE + "a_share_of_another_holder_target_or_dealer_is_recognised",
            ENVELOPE + "a_share_of_another_attempt_is_recognised",
            ENVELOPE + "lying_holders_do_not_keep_a_seed_from_being_rebuilt",
            ATTACK + "another_members_shares_are_refused",
        ),
    ),
    Defence(
        "a seed has its length",
        ROUND + "envelope.py",
        "if target not in self.targets or len(seed) != SEED_BYTES:",
        "if target not in self.targets:",
        (ENVELOPE + "a_seed_or_share_of_another_length_fits_nothing_even_where_the_dealer_vouches_for_it",),
    ),
    Defence(
        "a share has its length",
        ROUND + "envelope.py",
        "if holder not in self.neighbours or target not in self.targets or len(share) != SHARE_BYTES:",
        "if holder not in self.neighbours or target not in self.targets:",
        (ENVELOPE + "a_seed_or_share_of_another_length_fits_nothing_even_where_the_dealer_vouches_for_it",),
    ),
    Defence(
        "tags are bound to their context",
        ROUND + "envelope.py",
        "key = blake3(context + place, derive_key_context=_TAG_CONTEXT).digest()",
        "key = blake3(place, derive_key_context=_TAG_CONTEXT).digest()",
        (ENVELOPE + "tags_are_bound_to_their_members_even_where_shares_are_the_same",),
    ),
    Defence(
        "tags are bound to dealer and holder",
        ROUND + "envelope.py",
        "key = blake3(context + place, derive_key_context=_TAG_CONTEXT).digest()",
        "key = blake3(context, derive_key_context=_TAG_CONTEXT).digest()",
        (ENVELOPE + "tags_are_bound_to_their_members_even_where_shares_are_the_same",),
    ),
    Defence(
        "tags are bound to their target",
        ROUND + "envelope.py",
        'blake3(t.to_bytes(2, "big") + share, key=key)',
        "blake3(share, key=key)",
        (ENVELOPE + "tags_are_bound_to_their_members_even_where_shares_are_the_same",),
    ),
    Defence(
        "hashes of seeds are bound to their context",
        ROUND + "envelope.py",
        "return blake3(context + place + seed, derive_key_context=_SEED_CONTEXT).digest()",
        "return blake3(place + seed, derive_key_context=_SEED_CONTEXT).digest()",
        (ENVELOPE + "hashes_are_bound_to_their_members_even_where_seeds_are_the_same",),
    ),
    Defence(
        "hashes of seeds are bound to their members",
        ROUND + "envelope.py",
        "return blake3(context + place + seed, derive_key_context=_SEED_CONTEXT).digest()",
        "return blake3(context + seed, derive_key_context=_SEED_CONTEXT).digest()",
        (ENVELOPE + "hashes_are_bound_to_their_members_even_where_seeds_are_the_same",),
    ),
    Defence(
        "box keys are bound to their context",
        ROUND + "seeds.py",
        'b"share box", self.context, (dealer, holder)',
        'b"share box", bytes(32), (dealer, holder)',
        (ENVELOPE + "an_envelope_of_another_attempt_opens_nothing",),
    ),
    Defence(
        "box keys are bound to their direction",
        ROUND + "seeds.py",
        'b"share box", self.context, (dealer, holder)',
        'b"share box", self.context, tuple(sorted((dealer, holder)))',
        (SEEDS + "no_two_secrets_of_a_group_are_alike",),
    ),
    Defence(
        "boxes are encrypted under what two members agree on",
        ROUND + "seeds.py",
        '_derive(self.shared(other), b"share box"',
        '_derive(bytes(32), b"share box"',
        (ATTACK + "whoever_lacks_a_members_keys_makes_none_of_its_secrets",),
    ),
    Defence(
        "pair masks grow from what two members agree on",
        ROUND + "seeds.py",
        '_derive(self.shared(other), b"pair mask"',
        '_derive(bytes(32), b"pair mask"',
        (ATTACK + "whoever_lacks_a_members_keys_makes_none_of_its_secrets",),
    ),
    Defence(
        "self masks grow from a member's own secret",
        ROUND + "seeds.py",
        '_derive(self.secret, b"self mask"',
        '_derive(bytes(32), b"self mask"',
        (ATTACK + "whoever_lacks_a_members_keys_makes_none_of_its_secrets",),
    ),
    Defence(
        "shares are drawn from a member's own secret",
        ROUND + "seeds.py",
        '_derive(self.secret, b"share coefficients"',
        '_derive(bytes(32), b"share coefficients"',
        (ATTACK + "whoever_lacks_a_members_keys_makes_none_of_its_secrets",),
    ),
    Defence(
        "seeds fit their hashes",
        ROUND + "envelope.py",
        "return self.data[at : at + HASH_BYTES] == _seed_hash(self.context, self.dealer, target, seed)",
        "return True",
        (
            ENVELOPE + "a_wrong_seed_is_recognised",
            ENVELOPE + "a_dealer_that_hashed_another_pair_seed_is_refused",
            ATTACK + "seeds_of_another_attempt_are_refused",
        ),
    ),
    Defence(
        "shares that do not fit are ignored",
        ROUND + "envelope.py",
        "for holder in sorted(shares) if self.check_share(holder, target, shares[holder])}",
        "for holder in sorted(shares)}",
        (ENVELOPE + "lying_holders_do_not_keep_a_seed_from_being_rebuilt",),
    ),
    Defence(
        "too few shares rebuild nothing",
        ROUND + "envelope.py",
        "if len(good) < self.threshold:",
        "if False:",
        (ENVELOPE + "too_few_shares_rebuild_nothing",),
    ),
    Defence(
        "boxes are authenticated",
        ROUND + "envelope.py",
        'raise IntegrityError(f"the box from {called(self.dealer)} to {called(holder)} does not open") from None',
        "raw = bytes(_box_bytes(k) - _AEAD_BYTES)",
        (
            ENVELOPE + "a_tampered_box_does_not_open",
            ATTACK + "who_deals_boxes_that_do_not_open_is_not_held",
        ),
    ),
    Defence(
        "shares in a box fit their tags",
        ROUND + "envelope.py",
        "if not self.data.startswith(tags, self._row(holder)):",
        "if False:",
        (ENVELOPE + "a_box_whose_share_does_not_fit_its_tag_is_refused",),
    ),
    Defence(
        "the pair seed is the neighbour's too",
        ROUND + "envelope.py",
        "if not self.check_seed(holder, secrets.seeds[self.dealer]):",
        "if False:",
        (ENVELOPE + "a_dealer_that_hashed_another_pair_seed_is_refused",),
    ),
    Defence(
        "a seed that was rebuilt fits its hash",
        ROUND + "envelope.py",
        "if not self.check_seed(target, seed):",
        "if False:",
        (
            ENVELOPE + "a_dealer_whose_shares_make_another_seed_is_found_out_when_it_is_rebuilt",
            ENVELOPE + "a_dealer_that_shares_something_else_with_each_holder_is_found_out",
        ),
    ),
    # ---- one member's side of the masks ----------------------------------------------------------------------------
    Defence(
        "one set of survivors, or fewer of it",
        ROUND + "masking.py",
        "if survivors != self._survivors:\n            raise ProtocolError(",
        "if False:\n            raise ProtocolError(",
        (
            ATTACK + "who_was_asked_with_one_set_of_survivors_tells_nothing_for_one_that_has_others",
            ATTACK + "no_sequence_of_survivor_sets_gets_a_survivors_self_mask_and_its_pair_masks",
        ),
    ),
    Defence(
        "shares are checked as they come",
        ROUND + "masking.py",
        "if target not in due or not envelope.check_share(holder, target, share):",
        "if False:",
        (
            ATTACK + "shares_of_another_attempt_are_refused",
            ATTACK + "another_members_shares_are_refused",
            ATTACK + "a_wrong_share_is_held_against_who_told_it_and_does_not_keep_the_seed_from_being_rebuilt",
            ATTACK + "below_the_threshold_a_silent_members_seed_is_not_rebuilt",
        ),
    ),
    Defence(
        "all seeds that are due and no others",
        ROUND + "masking.py",
        "if set(seeds) != set(due):",
        "if not set(due) <= set(seeds):",
        (ATTACK + "lying_survivor_sets_neither_add_nor_remove_what_is_taken_from_others",),
    ),
    Defence(
        "seeds are checked as they come",
        ROUND + "masking.py",
        "if not envelope.check_seed(target, seeds[target]):",
        "if False:",
        (ATTACK + "seeds_of_another_attempt_are_refused",),
    ),
    Defence(
        "a seed is rebuilt from enough shares",
        ROUND + "masking.py",
        "if len(shares) < envelope.threshold:",
        "if False:",
        (ATTACK + "below_the_threshold_a_silent_members_seed_is_not_rebuilt",),
    ),
    Defence(
        "who deals boxes that do not open is not held",
        ROUND + "masking.py",
        "if whole:",
        "if False:",
        (
            ATTACK + "who_deals_boxes_that_do_not_open_is_not_held",
            ATTACK + "a_member_that_is_shown_another_model_than_the_rest_is_not_taken_for_one_of_them",
        ),
    ),
    # ---- the round ---------------------------------------------------------------------------------------------------
    Defence(
        "commit before reveal",
        ROUND + "machine.py",
        "return self._attempt is not None and self._closed()",
        "return self._attempt is not None",
        (
            ROUNDS + "while_commits_are_open_nothing_is_shown_and_nothing_may_be",
            ROUNDS + "what_was_shown_is_not_passed_on_when_the_chain_takes_the_last_commit_back",
        ),
    ),
    Defence(
        "a reveal opens its commit",
        ROUND + "machine.py",
        " or not self._opens(event.member, event.reveal):",
        ":",
        (
            ROUNDS + "who_shows_another_contribution_than_it_committed_is_refused_and_nothing_of_it_is_kept",
            ROUNDS + "of_two_contributions_for_one_commit_only_the_committed_is_kept",
            ROUNDS + "a_copied_commit_cannot_be_opened_by_whoever_copied_it",
            "round/test_machine.py::test_a_reveal_that_does_not_open_its_commit_is_refused_and_not_kept",
        ),
    ),
    Defence(
        "a commit is bound to its member",
        ROUND + "commitment.py",
        "return keccak(salt + seat + numbers + root)",
        "return keccak(salt + numbers + root)",
        (
            ROUNDS + "a_copied_commit_cannot_be_opened_by_whoever_copied_it",
            "round/test_commitment.py::test_a_commit_is_bound_to_salt_member_task_round_attempt_and_contribution",
        ),
    ),
    Defence(
        "only who is summed releases",
        ROUND + "unmask.py",
        "if me in summed and not attempt.released:",
        "if not attempt.released:",
        (TOLD + "the_machine_asks_a_lost_member_to_release_nothing",),
    ),
    Defence(
        "seeds of the silent are asked for",
        ROUND + "unmask.py",
        "if missing and now >= began + timing.patience:",
        "if False:",
        (
            DROPOUT + "one_member_lost_leaves_the_exact_sum_of_the_survivors",
            DROPOUT + "members_who_live_but_tell_no_seed_are_not_needed",
        ),
    ),
    Defence(
        "a frozen attempt goes on with fewer",
        ROUND + "unmask.py",
        "if missing and now >= (began + view.final_deadline) / 2:",
        "if False:",
        (
            "round/test_faults.py::"
            "test_a_survivor_whose_seeds_nobody_can_rebuild_stops_no_attempt_and_nothing_is_summed_twice",
        ),
    ),
    Defence(
        "a sum counts when all its holders say the same",
        ROUND + "machine.py",
        "if len(set(claims.values())) > 1 or self._now >= patient_until:",
        "if self._now >= patient_until:",
        (
            ROUNDS + "a_sum_that_one_of_its_holders_changed_is_not_believed_but_made_anew",
            "round/test_machine.py::test_holders_who_differ_make_a_member_sum_for_itself",
        ),
    ),
    Defence(
        "a quorum signs the same outcome",
        ROUND + "machine.py",
        "for statement, signatures in by_statement.items():\n            if len(signatures) >= need:",
        "for statement, signatures in by_statement.items():\n            if len(attempt.models) >= need:",
        (ROUNDS + "a_model_that_liars_sign_is_not_posted_with_the_signatures_of_others",),
    ),
    # ---- robustness and noise ----------------------------------------------------------------------------------------
    Defence(
        "side words keep their bounds",
        ROUND + "layout.py",
        "if not 1 <= head[0] <= MAX_WEIGHT:",
        "if False:",
        ("round/test_fixed.py::test_hostile_side_words_are_named",),
    ),
    Defence(
        "words of buffers keep their bounds",
        ROUND + "layout.py",
        "if not set(bytes(side[start:end])[5::6]) <= _WITHIN_BOUND:",
        "if False:",
        ("round/test_fixed.py::test_hostile_words_of_buffers_are_named",),
    ),
    Defence(
        "a sum of buffers keeps its bound under masks",
        ROUND + "fixed.py",
        "sums = np.clip(side[:, start : start + layout.buffered], -bound, bound)",
        "sums = side[:, start : start + layout.buffered]",
        ("round/test_fixed.py::test_a_sum_of_buffers_that_no_members_can_have_counts_as_the_nearest_they_can",),
    ),
    Defence(
        "the cap that everyone checks",
        ROUND + "reduce.py",
        "vectors = cap(vectors, policy.clip)",
        "pass",
        (
            "round/test_reduce.py::test_what_comes_in_above_the_cap_is_scaled_down_by_everyone",
            "simulate/test_rounds.py::test_a_capped_lie_is_no_longer_than_the_cap",
        ),
    ),
    Defence(
        "trimming",
        ROUND + "robust.py",
        "return mean(np.sort(vectors, axis=0)[faults : len(vectors) - faults])",
        "return mean(np.sort(vectors, axis=0))",
        (
            "round/test_robust.py::test_no_rule_follows_far_lies",
            "round/test_robust.py::test_no_lie_moves_a_coordinate_out_of_the_honest_range",
            "simulate/test_rounds.py::test_a_robust_rule_stays_with_the_honest",
        ),
    ),
    Defence(
        "noise that hides members",
        ROUND + "reduce.py",
        "return replace(made, values=made.values + noise)",
        "return made",
        ("round/test_reduce.py::test_members_noise_is_added_as_planned_and_another_for_each_seed",),
    ),
    # ---- peers -------------------------------------------------------------------------------------------------------
    Defence(
        "nothing is told before the freeze",
        PEER + "unmasking.py",
        " or masking is None or not self._machine.survivors:",
        " or masking is None:",
        (TOLD + "before_the_ledger_fixes_survivors_nobody_tells_a_seed_or_share",),
    ),
    Defence(
        "survivors are those of the ledger",
        PEER + "unmasking.py",
        "if survivors != self._machine.survivors:",
        "if False:",
        (TOLD + "who_asks_with_other_survivors_than_the_ledger_shows_is_told_nothing",),
    ),
    Defence(
        "the journal is asked before anything is told",
        PEER + "unmasking.py",
        "if not self._peer.journal.opens(key, survivors):",
        "if False:",
        (
            TOLD + "what_a_member_told_for_some_survivors_it_never_tells_for_others",
            TOLD + "whatever_two_sets_a_ledger_shows_no_survivor_is_laid_open",
        ),
    ),
    Defence(
        "the journal remembers for whom",
        PEER + "journal.py",
        "if before and survivors & ~before:",
        "if False:",
        (
            TOLD + "what_a_member_told_for_some_survivors_it_never_tells_for_others",
            TOLD + "whatever_two_sets_a_ledger_shows_no_survivor_is_laid_open",
        ),
    ),
    Defence(
        "contributions are passed on once commits are closed",
        PEER + "exchange.py",
        "reveal = machine.reveal_of(pull.contributor) if machine.may_reveal() else None",
        "reveal = machine.reveal_of(pull.contributor)",
        (ROUNDS + "what_was_shown_is_not_passed_on_when_the_chain_takes_the_last_commit_back",),
    ),
    Defence(
        "what is kept has the committed hash",
        PEER + "exchange.py",
        "self._peer.store.put(data, name=reveal.shards[shard])",
        "self._peer.store.put(data)",
        (
            ROUNDS + "of_two_contributions_for_one_commit_only_the_committed_is_kept",
            ROUNDS + "a_contribution_with_one_bit_changed_on_its_way_is_not_held",
        ),
    ),
    Defence(
        "liars are expelled",
        PEER + "session.py",
        "self.spawn(self._tribunal.accuse(evidence))",
        "pass",
        ("peer/test_liar.py::test_who_proves_itself_a_liar_is_named_on_the_ledger_and_out_of_the_rounds_that_follow",),
    ),
    # ---- the contracts -----------------------------------------------------------------------------------------------
    Defence(
        "signatures are their signers'",
        MOOT,
        'assert signer == self._accounts[index], "signature is not the signer\'s"',
        "pass",
        (
            ROUNDS + "whoever_posts_the_outcome_cannot_change_a_word_of_it",
            CONTRACT + "a_final_round_needs_a_quorum_under_exactly_its_outcome",
            CONTRACT + "a_joint_commit_counts_for_all_its_signers_or_for_none",
        ),
    ),
    Defence(
        "a quorum",
        MOOT,
        'assert count >= (n + (n - 1) // 3) // 2 + 1, "no quorum"',
        "pass",
        (
            CONTRACT + "a_final_round_needs_a_quorum_under_exactly_its_outcome",
            CONTRACT + "attestations_of_fewer_than_a_quorum_freeze_nothing",
        ),
    ),
    Defence(
        "commits close",
        MOOT,
        'assert not self._is_closed(task, stage, terms), "commits are closed"\n    for hash',
        "for hash",
        (CONTRACT + "commits_close_at_the_deadline_when_enough_came",),
    ),
    Defence(
        "a sealed attempt is open to whom it was dealt to",
        MOOT,
        'assert terms.sealed == 0 or members & ~self._rounds[task].expected == 0, "not dealt in"',
        "pass",
        (CONTRACT + "a_sealed_attempt_takes_commits_only_of_those_it_was_dealt_to",),
    ),
    Defence(
        "no commit without a grant",
        MOOT,
        'assert members & ~self._tasks[task].granted == 0, "no grant"',
        "pass",
        (GRANTS + "nobody_commits_without_a_grant",),
    ),
    Defence(
        "no commit with a grant that has ended",
        MOOT,
        'assert self._lapsed(task, members, round) == 0, "the grant has ended"',
        "pass",
        (GRANTS + "nobody_commits_once_its_grant_has_ended_by_time",),
    ),
    Defence(
        "grants end when rounds open",
        MOOT,
        "        if left & 1 == 1:\n            self._withdraw(task, i)\n",
        "        pass\n",
        (GRANTS + "a_grant_that_ended_takes_no_place_in_any_attempt_that_opens_later",),
    ),
    Defence(
        "a paused task takes no commits",
        MOOT,
        'assert self._standing(task) == ADOPTED, "task is paused"',
        "pass",
        (GRANTS + "a_grant_is_worth_nothing_to_whom_the_members_have_shut_out",),
    ),
    Defence(
        "removed members do not commit by another's hand",
        MOOT,
        'assert members & self._removed == 0, "not a member"',
        "pass",
        (ACCOUNTS + "a_removed_member_can_do_nothing_with_any_of_its_accounts",),
    ),
    Defence(
        "only the main account consents",
        MOOT,
        'assert self._mains[index] == msg.sender, "only the main account may"',
        "pass",
        (ACCOUNTS + "a_daily_account_neither_grants_nor_votes_nor_delegates_but_may_revoke",),
    ),
    Defence(
        "only the assembly decides",
        MOOT,
        'assert msg.sender == ASSEMBLY, "only the assembly decides that"',
        "pass",
        (MOTIONS + "nobody_but_the_assembly_calls_what_members_decide",),
    ),
    Defence(
        "votes of removed members do not count",
        ASSEMBLY,
        "return 100 * self._weight(ayes & living)",
        "return 100 * self._weight(ayes)",
        (MOTIONS + "votes_of_removed_members_do_not_count_and_its_place_is_not_voted_from_again",),
    ),
    Defence(
        "a vote counts once",
        ASSEMBLY,
        'assert ((ayes | noes) >> index) & 1 == 0, "already voted"',
        "pass",
        (MOTIONS + "a_member_votes_once_and_its_vote_stands",),
    ),
    Defence(
        "a motion is enacted once",
        ASSEMBLY,
        'assert (head >> 80) & 1 == 0, "already enacted"',
        "pass",
        (MOTIONS + "a_motion_of_each_kind_passes_with_one_vote_more_than_its_share_and_not_with_its_share",),
    ),
    Defence(
        "a motion lapses",
        ASSEMBLY,
        'assert block.timestamp < deadline + window, "too late to enact it"',
        "pass",
        (MOTIONS + "other_rules_change_nothing_about_when_an_older_motion_lapses",),
    ),
    Defence(
        "a voucher that was voted for is used once",
        ASSEMBLY,
        "        self._usable[voucher] = SPENT\n",
        "        pass\n",
        (
            "ledger/test_contract_members.py::test_a_voted_voucher_admits_one_member_and_is_never_voted_for_again",
            "ledger/test_contract_members.py::test_each_elder_of_a_moot_that_is_continued_joins_once_with_its_own_key",
        ),
    ),
    Defence(
        "a half admits nobody",
        ASSEMBLY,
        "    if kind <= REKEY or (kind >= WEIGH",
        "    if kind == REMOVE or kind == REKEY or (kind >= WEIGH",
        ("ledger/test_contract_members.py::test_half_of_a_moot_admits_nobody",),
    ),
    Defence(
        "a voucher of before a removal admits nobody",
        ASSEMBLY,
        "word >> 64 == self._removals and ",
        "",
        ("ledger/test_contract_members.py::test_a_voucher_voted_for_before_a_member_was_put_out_admits_nobody_after",),
    ),
    Defence(
        "nobody new comes into a round that was sealed and frozen",
        MOOT,
        "    stage.shut = terms.sealed\n",
        "",
        (
            "ledger/test_contract_attempts.py"
            "::test_nobody_new_comes_in_after_a_frozen_sealed_attempt_by_asking_for_another_one",
            "ledger/test_contract_attempts.py::test_nobody_new_comes_in_after_a_frozen_sealed_attempt_by_a_pause",
        ),
    ),
    # ---- a task that does without a member, and consent looked at afterwards --------------------------------------
    Defence(
        "nobody attests to whom a task does without",
        ROUND + "machine.py",
        "wanted = view.committed & ~self._without",
        "wanted = view.committed",
        ("round/test_machine.py::test_whom_a_task_does_without_is_attested_to_by_nobody_whatever_it_shows",),
    ),
    Defence(
        "nobody signs a model that counts whom its task does without",
        ROUND + "machine.py",
        "if view.survivors & self._without:",
        "if False:",
        ("round/test_machine.py::test_no_model_is_made_that_counts_whom_a_task_does_without",),
    ),
    Defence(
        "a start is the model that it says",
        PEER + "unlearn.py",
        "if pin.state != model or record.genesis != model:",
        "if False:",
        ("peer/test_unlearn.py::test_a_start_that_is_not_the_model_or_the_code_it_says_is_refused",),
    ),
    Defence(
        "a commit counts under a live grant",
        PEER + "register.py",
        "return self.granted.place < commit.place < end and in_time",
        "return True",
        ("peer/test_lineage.py::test_a_commit_counted_without_a_live_grant_is_named_by_round_and_member",),
    ),
    Defence(
        "a grant is its member's own over a node",
        PEER + "sources.py",
        "elif call.sender != consent.main or call.data[:164] != _granting(entry, consent.begun):",
        "elif False:",
        ("peer/test_lineage.py::test_over_a_node_a_grant_that_its_member_did_not_sign_is_found",),
    ),
    Defence(
        "an exported statement is signed by a member",
        PEER + "inspection.py",
        "if said in known and signer.name == sources.register.name(signer.member):",
        "if True:",
        ("peer/test_lineage.py::test_an_export_of_another_moot_is_not_held_against_this_one",),
    ),
    Defence(
        "the rounds before a move are held against that moot's ledger",
        PEER + "inspection.py",
        "if said.former is not None and found.former is not None:\n        for place",
        "if False:\n        for place",
        (MOVED_LINEAGE + "a_signed_lineage_whose_rounds_before_the_move_are_others_is_refused",),
    ),
    Defence(
        "the lineage before a move is of the moot that was left",
        PEER + "inspection.py",
        "if named != (before.chain_id, before.contract, before.task):",
        "if False:",
        (MOVED_LINEAGE + "a_signed_lineage_that_begins_in_a_third_moot_is_refused",),
    ),
    # ---- a moot that moves ---------------------------------------------------------------------------------------
    Defence(
        "a move that leaves a running task's bounty behind is refused",
        PEER + "leaving.py",
        "if view.phase is not Phase.DONE:",
        "if False:",
        (MOVED + "who_votes_refuses_a_move_that_leaves_a_bounty_behind_unless_that_is_meant",),
    ),
    Defence(
        "a move that leaves rounds unpaid is refused",
        PEER + "leaving.py",
        "if moot.finals(task) and _open(moot, task, token) and _ours(moot, task, token):",
        "if False:",
        (MOVED + "a_moot_does_not_move_away_from_a_bounty_that_is_neither_paid_out_nor_free_to_be_taken_back",),
    ),
    Defence(
        "nothing is voted for before votes weigh what they did before the move",
        PEER + "weighing.py",
        "due = {} if account is None or not account.weights else owed(moot, account)",
        "due: dict[int, int] = {}",
        (MOVED + "votes_weigh_in_the_successor_what_they_weighed_before",),
    ),
    # ---- the code of others (where bubblewrap is) ------------------------------------------------------------------
    Defence(
        "commands run the code of tasks in a sandbox, too",
        PEER + "workbench.py",
        'self.sandboxed = choice.kind != "none"',
        "self.sandboxed = False",
        ("peer/test_commands_in_the_sandbox.py::test_verify_runs_the_code_of_tasks_where_it_sees_nothing",),
    ),
    Defence(
        "two processes have to make the same bytes of a task that is proposed",
        PEER + "rehearsal.py",
        "if first.advance().model != first.model:",
        "if False:",
        ("peer/test_rehearsal.py::test_what_comes_out_otherwise_in_each_process_is_refused",),
    ),
    Defence(
        "a sandbox has no network",
        PEER + "sandbox.py",
        '_NAMESPACES = ("--unshare-all", ',
        '_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-uts", ',
        (HOSTILE,),
    ),
    Defence(
        "blobs are lent to be read",
        PEER + "sandbox.py",
        'made += ("--ro-bind", str(blobs), BLOBS)',
        'made += ("--bind", str(blobs), BLOBS)',
        (HOSTILE, SANDBOX + "what_is_made_honestly_after_all_that_is_there_and_nothing_is_spoilt"),
    ),
    Defence(
        "a dataset is shown to be read",
        PEER + "sandbox.py",
        'made += ("--ro-bind", dataset.source, dataset.path)',
        'made += ("--bind", dataset.source, dataset.path)',
        (HOSTILE, SANDBOX + "what_is_made_honestly_after_all_that_is_there_and_nothing_is_spoilt"),
    ),
    Defence(
        "what is the peer's own is no dataset",
        PEER + "sandbox.py",
        "if _within(home, (source,)) or _within(store, (source,)) or _within(source, (store,)):",
        "if False:",
        (SANDBOX + "what_is_the_peers_own_is_never_shown",),
    ),
    Defence(
        "an override is put on record",
        PEER + "sandbox.py",
        'peer.journal.override("sandbox", chosen.by)',
        "pass",
        (
            SANDBOX + "without_bubblewrap_a_peer_refuses_the_code_of_others_says_how_to_mend_it_and_stays_up",
            SANDBOX + "an_override_in_the_configuration_is_recorded_at_each_start_and_kept",
        ),
    ),
    Defence(
        "a task is one process",
        PEER + "seccomp.py",
        "yield from _unless(_BITS, _CLONE_THREAD, _ERRNO | _EPERM)",
        "yield from _unless(_BITS, 0xFFFFFFFF, _ERRNO | _EPERM)",
        (HOSTILE,),
    ),
    Defence(
        "the environment stays outside",
        PEER + "workplace.py",
        "env={**_ENVIRONMENT, **environment()},",
        "env={**_ENVIRONMENT, **environment(), **os.environ},",
        (HOSTILE,),
    ),
    Defence(
        "an answer names what was made for it",
        PEER + "workplace.py",
        "if not known.issuperset(named_in(question, reply)):",
        "if False:",
        (SANDBOX + "it_cannot_pass_off_a_blob_that_it_did_not_make",),
    ),
    Defence(
        "no more blobs than are due",
        PEER + "workplace.py",
        "if not left:",
        "if False:",
        (SANDBOX + "it_cannot_fill_the_store",),
    ),
    Defence(
        "memory is limited",
        PEER + "process.py",
        "limits[resource.RLIMIT_AS if alone else resource.RLIMIT_DATA] = memory",
        "pass",
        (HOSTILE,),
    ),
    Defence(
        "a dataset whose grant ended is not seen",
        PEER + "session.py",
        "if grant is None or self._paused or self._without >> self._peer.index & 1:\n            self._allow(None)",
        "if grant is None or self._paused or self._without >> self._peer.index & 1:",
        (SANDBOX + "the_dataset_is_in_the_sandbox_from_the_grant_until_it_is_withdrawn",),
    ),
    # ---- a moot that moves to a hosted chain ----------------------------------------------------------------------
    Defence(
        "the host of a successor's chain is a member",
        PEER + "migration.py",
        "if not any(m.endpoint == host and check_binding(m) for m in members):",
        "if False:",
        (MOVES + "a_host_that_is_no_member_of_the_successor_is_refused",),
    ),
    Defence(
        "the chain at the host's address is the successor's",
        PEER + "succession.py",
        "if chain.id == chain_id:",
        "if True:",
        (MOVES + "a_host_of_another_successor_does_not_pass_for_this_one",),
    ),
    # ---- a hosted chain ------------------------------------------------------------------------------------------
    Defence(
        "the host's signature under each block",
        PEER + "hostpages.py",
        "head.check(self.chain, self.book.host)",
        "pass",
        (HOSTED_BY_MEMBERS + "a_member_cannot_speak_for_the_host",),
    ),
    Defence(
        "only a host that gave it itself is blamed for what does not follow",
        PEER + "hostwatch.py",
        "if giver != self._book.host:",
        "if False:",
        (HOSTED_BY_MEMBERS + "a_true_signature_over_changed_bytes_does_not_convict_the_host",),
    ),
    Defence(
        "a member is proposed by itself, and wanted",
        PEER + "hostvote.py",
        "if book.state.wish != wanted.endpoint:",
        "if False:",
        (HOSTED_BY_MEMBERS + "who_is_not_wanted_gets_no_vote_and_no_appointment_by_too_few",),
    ),
    Defence(
        "an appointment by members that the peer knows itself",
        PEER + "hostvote.py",
        "if not appointment.is_carried_by(domain, accounts_at(self._copy, contract)):",
        "if False:",
        (HOSTED_BY_MEMBERS + "who_is_not_wanted_gets_no_vote_and_no_appointment_by_too_few",),
    ),
    Defence(
        "more than half make a host",
        "src/folkmoot/ledger/hosting.py",
        "return 2 * len(addresses & signers) > len(addresses)",
        "return 2 * len(addresses & signers) >= len(addresses)",
        (HOSTED + "an_appointment_holds_with_more_than_half_of_the_members_each_counted_once",),
    ),
    Defence(
        "no block is signed away that could stay",
        PEER + "hostvote.py",
        "if after is None or any(self._departs(head, after) for head in fork):",
        "if True:",
        (HOSTED_BY_MEMBERS + "a_wanted_host_may_give_up_no_block_that_could_stay",),
    ),
    Defence(
        "one statement of a term",
        PEER + "hostvote.py",
        "if wanted.term == term and digest != wanted.digest(self._peer.moot.domain):",
        "if False:",
        (HOSTED_BY_MEMBERS + "a_member_signs_one_statement_of_a_term",),
    ),
    Defence(
        "only the host appends",
        "src/folkmoot/ledger/hosted.py",
        "        if not self.hosting:\n            raise ChainError(",
        "        if False:\n            raise ChainError(",
        (HOSTED + "only_the_host_appends_the_others_have_theirs_carried",),
    ),
    Defence(
        "a guest shows a usable voucher",
        PEER + "hosting.py",
        "if not admits(self._peer, voucher):",
        "if False:",
        (HOSTED_PEERS + "a_task_trains_to_its_end_and_a_newcomer_with_a_ticket_comes_in_meanwhile",),
    ),
    # ---- where a node listens, what it dials, who may append -------------------------------------------------------
    Defence(
        "no socket on all addresses of the other family",
        "src/folkmoot/network/listening.py",
        "return [_pair(self.host, self.port), _pair(other, self.port)]",
        "return [_pair(self.host, self.port)]",
        ("network/test_listening.py::test_a_node_bound_to_loopback_has_no_socket_that_another_machine_reaches",),
    ),
    Defence(
        "a dial is not broken off",
        "src/folkmoot/network/peers.py",
        "self._late.add(dialing)",
        "dialing.cancel()",
        (CONNECTIONS + "a_connection_that_the_dialer_waits_for_no_more_serves_the_other_side_that_has_it",),
    ),
    Defence(
        "no connection with who was removed meanwhile",
        "src/folkmoot/network/node.py",
        "if self._peers.get(peer.key) is not peer or peer.set_aside():",
        "if False:",
        (CONNECTIONS + "a_dial_that_ends_after_its_peer_was_removed_leaves_no_connection",),
    ),
    Defence(
        "a block is appended after the newest one only",
        "src/folkmoot/ledger/replica.py",
        "if self._file.ends_with(self._newest):",
        "if True:",
        (
            "ledger/test_embedded_stopped.py::"
            "test_a_process_that_is_stopped_while_it_computes_holds_up_nobody_and_its_block_comes_later",
        ),
    ),
    Defence(
        "who cannot take part does not ask to be waited for",
        "src/folkmoot/round/attempt.py",
        "return self.opened and not self.failed and round >= self.again",
        "return True",
        (
            "round/test_machine.py::test_who_could_not_open_a_round_asks_to_be_waited_for_only_when_it_has_opened_one",
            "round/test_machine.py::test_who_failed_to_train_is_not_waited_for_in_any_later_round_until_it_has_trained",
        ),
    ),
    Defence(
        "who does not know what it has told, or has a twin, tells nothing",
        "src/folkmoot/peer/context.py",
        "return not self.twin and not self.journal.sits_out(key)",
        "return True",
        (TOLD + "who_does_not_know_what_it_has_told_of_an_attempt_tells_nothing_of_it",),
    ),
    # ---- the member's data -----------------------------------------------------------------------------------------
    Defence(
        "a grant is for data as it was",
        PEER + "cards.py",
        "if found.hex() != card.fingerprint:",
        "if False:",
        (
            DATA + "a_dataset_is_linked_again_only_to_the_data_that_its_card_describes",
            "cli/test_datasets.py::test_data_that_has_changed_is_not_granted_but_taken_up_anew",
        ),
    ),
    Defence(
        "a card is the one whose hash is on the ledger",
        PEER + "cards.py",
        "if blob_hash(content) != dataset.card:",
        "if False:",
        (DATA + "without_its_card_nobody_can_tell_what_a_dataset_is",),
    ),
    Defence(
        "a member's file is held against the task's columns",
        PEER + "worker.py",
        "check_file(self._schema, path)",
        "pass",
        ("cli/test_datasets.py::test_a_task_that_is_proposed_with_data_holds_every_member_s_data_against_its_columns",),
    ),
]
