// Package model holds one file a screen: its state, its Update, its polling,
// its table of actions. It draws nothing and knows no colours; package ui
// draws it.
package model
