"""mmbench: do text and image embeddings truly help a recommender?"""
