{
 "lrwatch_signature": 1,
 "algorithm": "ed25519",
 "experiment": "gpt-tiny",
 "identity": "0ccdee6c3d02957b5dfe6feb7e3bdcb3f93d9a2222039f0edd412093a54319f9",
 "key": "361ac3d9929bc30c",
 "signature": "t3oTc75tR2VVHLe0As6NLVeKOqWuX3+WC34fcZnm9bB8pRLBq+qvx4p7a+EWa7NsZt27tcoqIa4+6jlZ42mZAA=="
}
