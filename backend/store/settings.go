package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/backend"
)

// policyKey is the setting that holds the queue's policy, as JSON.
const policyKey = "policy"

// Setting returns what was kept under key, "" when nothing was.
func (t *Tx) Setting(key string) (value string, err error) {
	err = t.row("SELECT value FROM setting WHERE key = ?", key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// SetSetting keeps value under key; "" is nothing, which is not kept.
func (t *Tx) SetSetting(key, value string) error {
	if value == "" {
		_, err := t.change("DELETE FROM setting WHERE key = ?", key)
		return err
	}
	_, err := t.change("INSERT INTO setting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value", key, value)
	return err
}

// Policy returns the policy of the queue, and whether one was ever chosen.
func (t *Tx) Policy() (p backend.QueuePolicy, chosen bool, err error) {
	kept, err := t.Setting(policyKey)
	if err != nil || kept == "" {
		return p, false, err
	}
	if err := json.Unmarshal([]byte(kept), &p); err != nil {
		return p, false, fmt.Errorf("%w: the policy: %w", ErrCorrupt, err)
	}
	return p, true, nil
}

// SetPolicy chooses the policy of the queue.
func (t *Tx) SetPolicy(p backend.QueuePolicy) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return t.SetSetting(policyKey, string(b))
}
