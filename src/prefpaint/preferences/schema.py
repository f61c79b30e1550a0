"""What a rating is, and what a comparison."""

CRITERIA = ("structure", "texture", "overall")
# The paper's, section 3; in the order of CRITERIA.
WEIGHTS = (0.15, 0.15, 0.70)
# The paper specifies 1-7; its labelling platform also allowed 0.
LOWEST, HIGHEST = 0, 7
RATING_COLUMNS = ("candidate_id", "rater", *CRITERIA, "rated_at")

# "A is better than B": which of two candidates of one prompt was preferred.
OUTCOMES = ("a", "b", "tie")
COMPARISON_COLUMNS = ("candidate_a", "candidate_b", "preferred", "rater", "rated_at")
