"""Which question of which record-keeping duty a report answers, where in it, and what it leaves to others.

Facts, not advice: provisions by number, what they ask for in our own words. ``docs/compliance.md`` says more.
"""

from __future__ import annotations

__all__ = ["DUTIES"]

_AI_ACT = "EU AI Act, Regulation (EU) 2024/1689"
_GDPR = "GDPR, Regulation (EU) 2016/679"
_HIPAA = "HIPAA, 45 CFR Part 164"


def _duty(law: str, provision: str, question: str, where: str, extent: str, left: str) -> dict[str, object]:
    return {
        "law": law,
        "provision": provision,
        "question": question,
        "where": [part for part in where.split(" ") if part],
        "extent": extent,
        "left": left,
    }


DUTIES: list[dict[str, object]] = [
    _duty(
        *(_AI_ACT, "Article 12(1)", "Are events recorded automatically over the system's lifetime?"),
        *("tasks uses consents decisions", "partly"),
        "Recorded is how a model is made. What happens when it is used, its user has to log.",
    ),
    _duty(
        *(_AI_ACT, "Article 12(2)(a)", "Can risky situations and substantial modifications be identified?"),
        *("refusals decisions tasks effects", "partly"),
        "Every change of code, members and model is here; whether one is risky or substantial, people judge.",
    ),
    _duty(
        *(_AI_ACT, "Article 12(2)(b)", "Is monitoring after release made easier?"),
        *("effects tasks", "partly"),
        "Which model came from what can be looked up by its hash; how it does in use cannot.",
    ),
    _duty(
        *(_AI_ACT, "Article 12(2)(c)", "Can deployers monitor operation?"),
        *("", "no"),
        "Use of a model happens outside.",
    ),
    _duty(
        *(_AI_ACT, "Article 12(3)", "For remote biometric identification: each use, reference data, matches, people?"),
        *("", "no"),
        "Use of a model happens outside.",
    ),
    _duty(
        *(_AI_ACT, "Article 19(1)", "Are the logs kept, for at least six months?"),
        *("moot as_of replay", "partly"),
        "Ledger entries stay as long as the ledger does. Blobs give way to newer ones at blob_budget, and a peer's log"
        " is set aside at 16 MiB: keep copies, and this report.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(a)", "Who is the controller, and how can it be reached?"),
        *("members", "partly"),
        "Names as members gave them. Contact details, representatives and data protection officers are not here.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(b)", "For which purposes are data processed?"),
        *("tasks uses", "partly"),
        "The code that ran, by its hash. The purpose in words is for the controller to write.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(c)", "Which categories of people and of data?"),
        *("datasets", "partly"),
        "Hashes of description and schema, and a number of records. What is behind a hash its owner keeps.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(d)", "Who receives them?"),
        *("uses members tasks", "partly"),
        "No record leaves its member. Contributions made from records reach the members of the round, or, where"
        " terms.sealed is 1, only their sums do.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(e)", "Are there transfers to third countries?"),
        *("", "no"),
        "Where members are is not on the ledger.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(f)", "When are data to be erased?"),
        *("consents", "partly"),
        "Until when a grant holds and when it ended. Erasure of the data themselves is their owner's.",
    ),
    _duty(
        *(_GDPR, "Article 30(1)(g)", "Which security measures are taken?"),
        *("tasks replay home", "partly"),
        "Terms of each task, overrides of the sandbox on this peer. General measures: docs/threat-model.md.",
    ),
    _duty(
        *(_GDPR, "Article 30(3) and (4)", "Is the record in electronic form, and can an authority have it?"),
        *("digest", "yes"),
        "",
    ),
    _duty(
        *(_HIPAA, "§ 164.312(b)", "Is activity in systems with protected health information recorded and examined?"),
        *("uses consents refusals home", "partly"),
        "What this software did with a dataset. Other access to the machine is for its own logs.",
    ),
    _duty(
        *(_HIPAA, "§ 164.316(b)(2)(i)", "Is what has to be documented kept for six years?"),
        *("moot as_of", "partly"),
        "As for Article 19(1) above.",
    ),
    _duty(
        *(_HIPAA, "§ 164.528(b)(2)(i)", "When was each disclosure?"),
        *("uses", "partly"),
        "The time of each contribution. Whether one is a disclosure at all is a question of law.",
    ),
    _duty(
        *(_HIPAA, "§ 164.528(b)(2)(ii)", "Who received it?"),
        *("members uses", "partly"),
        "Names as members gave them; no postal addresses.",
    ),
    _duty(
        *(_HIPAA, "§ 164.528(b)(2)(iii)", "What was disclosed?"),
        *("datasets uses", "partly"),
        "Which dataset, by its hash. Whose records are in it only its owner can tell: an accounting is for one person.",
    ),
    _duty(
        *(_HIPAA, "§ 164.528(b)(2)(iv)", "For which purpose?"),
        *("tasks consents", "partly"),
        "The code and the grant. The purpose in words is for the covered entity to write.",
    ),
]
